#!/usr/bin/env python3
"""Does an adapter learn on a base of few bits as on any other? Steps of AdamW with LoRA (r = 8, alpha = 16, all linear layers) on gsm8k.

    PYTHONPATH=bindings/python/src python3 Benchmarks/adapters_learning.py --model DIR --data gsm8k.jsonl [--bases bfloat16,int4,peft]

Every base takes the same conversations in the same order, from the same adapter; `peft` is PyTorch with PEFT in float32, which needs both.
Prints the loss of held-back conversations before and after.
"""
import argparse
import json
import random
import tempfile
import time

import qwensft
from adapters import adapted, base
from train import question


def learned_here(options, name, batches, held_back):
    trainer = adapted(base(options.model, name), lr=options.lr)
    before = trainer.evaluate(held_back).loss
    start = time.time()
    losses = [trainer.step(batch).loss for batch in batches]
    seconds = time.time() - start
    return before, trainer.evaluate(held_back).loss, losses, seconds


def learned_by_peft(options, batches, held_back):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(qwensft.get_num_threads())
    with tempfile.TemporaryDirectory() as place:
        model = qwensft.Model.from_pretrained(options.model, dtype="bfloat16")
        adapted(model)
        model.save_adapter(place)
        del model
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="sdpa")
        model = PeftModel.from_pretrained(model, place, is_trainable=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=options.lr, weight_decay=0.01)

    def loss(batch):
        ids, labels, mask = (torch.from_numpy(x) for x in (batch.input_ids, batch.labels, batch.attention_mask))
        return model(input_ids=ids, labels=labels, attention_mask=mask).loss

    def evaluate():
        model.eval()
        with torch.no_grad():
            sums = [(loss(batch).item(), int((batch.labels[:, 1:] != -100).sum())) for batch in held_back]
        model.train()
        return sum(value * count for value, count in sums) / sum(count for _, count in sums)

    before, losses, start = evaluate(), [], time.time()
    for batch in batches:
        optimizer.zero_grad()
        value = loss(batch)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    seconds = time.time() - start
    return before, evaluate(), losses, seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--bases", default="bfloat16,int8,int4")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1, help="conversations of a step")
    parser.add_argument("--held-back", type=int, default=20, help="conversations that the loss is measured on")
    parser.add_argument("--longest", type=int, default=128, help="tokens of a conversation")
    parser.add_argument("--lr", type=float, default=2e-4)
    options = parser.parse_args()
    with open(options.data, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(1).shuffle(rows)
    tok = qwensft.Tokenizer.from_pretrained(options.model)

    def batch(conversations):
        return qwensft.preprocess(tok, conversations, label_policy="assistant")

    fitting = (c for c in (question(r["question"], r["answer"]) for r in rows) if batch([c]).input_ids.shape[1] <= options.longest)
    held_back = [batch([next(fitting)]) for _ in range(options.held_back)]
    batches = [batch([next(fitting) for _ in range(options.rows)]) for _ in range(options.steps)]
    tokens = sum(int(b.attention_mask.sum()) for b in batches)
    print(f"{options.steps} steps, {tokens:,} tokens")
    print(f"{'base':10}{'held back: before':>18}{'after':>10}{'last 25 steps':>15}{'tokens/s':>10}")
    for name in options.bases.split(","):
        before, after, losses, seconds = (
            learned_by_peft(options, batches, held_back) if name == "peft" else learned_here(options, name, batches, held_back))
        last = losses[-25:]
        print(f"{name:10}{before:18.5f}{after:10.5f}{sum(last) / len(last):15.5f}{tokens / seconds:10.1f}", flush=True)


if __name__ == "__main__":
    main()
