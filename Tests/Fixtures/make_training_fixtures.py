#!/usr/bin/env python3
"""Makes what runs are compared with: the learning rates of transformers' schedules, and fifty steps of torch.

    pip install torch==2.15.0 transformers==5.24.0 safetensors numpy
    python3 make_training_fixtures.py           # rewrites training/ beside this script; 10 s

training/
    schedules.json    by schedule, warm-up and length: the factor of every step, from LambdaLR over transformers' functions
    fifty-steps.json  conversations, their ids and labels, the settings, and loss, gradient norm and rate of every step
"""
import json
import math
import os

import torch
from transformers import (
    AutoModelForCausalLM, AutoTokenizer, TrainingArguments, get_constant_schedule, get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup,
)

ROOT = os.path.dirname(os.path.abspath(__file__))
HERE = os.path.join(ROOT, "training")
MODEL = os.path.join(ROOT, "../../Examples/tiny-qwen2")
SETTINGS = dict(
    lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.1, max_grad_norm=1.0, batch_size=2, accumulation=2,
    warmup_steps=5, epochs=10,
)


def schedule(shape, optimizer, warmup, total):
    if shape == "linear":
        return get_linear_schedule_with_warmup(optimizer, warmup, total)
    if shape == "cosine":
        return get_cosine_schedule_with_warmup(optimizer, warmup, total)
    return get_constant_schedule_with_warmup(optimizer, warmup) if warmup else get_constant_schedule(optimizer)


def schedules():
    cases = []
    for shape in ("constant", "linear", "cosine"):
        for warmup, ratio, total in [(0, 0, 7), (3, 0, 10), (10, 0, 10), (12, 0, 10), (0, 0.1, 15), (0, 0.03, 100), (4, 0.5, 12), (0, 0, 1)]:
            # As Trainer asks its arguments; steps that are given count, otherwise the share, rounded up.
            steps = warmup if warmup > 0 else math.ceil(total * ratio)
            try:
                asked = TrainingArguments(output_dir="/tmp/none", warmup_steps=warmup or ratio, use_cpu=True, report_to=[])
                assert asked.get_warmup_steps(total) == steps
            except ImportError:  # no accelerate
                pass
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            scheduler = schedule(shape, optimizer, steps, total)
            factors = []
            for _ in range(total):
                factors.append(scheduler.get_last_lr()[0])
                optimizer.step()
                scheduler.step()
            cases.append(dict(shape=shape, warmup_steps=warmup, warmup_ratio=ratio, total=total, factors=factors))
    return cases


def fifty_steps():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager")
    model.config.use_cache = False
    rows = []
    for i in range(20):
        question = f"{i % 7}+{i % 5}等于几" * (1 + i % 3)
        answer = f"{i % 7}+{i % 5}等于{i % 7 + i % 5 + 1}。" * (1 + i % 4)
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], tokenize=False)
        # What is learned: the answer and the token that ends it.
        begin, end = len(prompt), whole.rindex("<|im_end|>") + len("<|im_end|>")
        encoded = tokenizer(whole, return_offsets_mapping=True, add_special_tokens=False)
        labels = [
            token if begin <= start and stop <= end else -100
            for token, (start, stop) in zip(encoded["input_ids"], encoded["offset_mapping"])
        ]
        rows.append(dict(question=question, answer=answer, ids=encoded["input_ids"], labels=labels))

    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    s = SETTINGS
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=s["weight_decay"]), dict(params=others, weight_decay=0.0)],
        lr=s["lr"], betas=tuple(s["betas"]), eps=s["eps"])
    size = s["batch_size"] * s["accumulation"]
    per_epoch = math.ceil(len(rows) / size)
    total = per_epoch * s["epochs"]
    scheduler = get_cosine_schedule_with_warmup(optimizer, s["warmup_steps"], total)
    steps = []
    for step in range(total):
        start = step % per_epoch * size
        chosen = rows[start : start + size]
        count = sum(sum(label != -100 for label in row["labels"][1:]) for row in chosen)
        loss_sum = 0.0
        for first in range(0, len(chosen), s["batch_size"]):
            batch = chosen[first : first + s["batch_size"]]
            width = max(len(row["ids"]) for row in batch)

            def pad(values, filler):
                return torch.tensor([v + [filler] * (width - len(v)) for v in values])

            logits = model(
                input_ids=pad([row["ids"] for row in batch], 0),
                attention_mask=pad([[1] * len(row["ids"]) for row in batch], 0)).logits
            labels = pad([row["labels"] for row in batch], -100)
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), reduction="sum") / count
            loss.backward()
            loss_sum += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), s["max_grad_norm"]).item()
        steps.append(dict(loss=loss_sum, grad_norm=norm, lr=scheduler.get_last_lr()[0], targets=count))
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return dict(settings=s, rows=rows, steps=steps)


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    for name, content in (("schedules.json", schedules()), ("fifty-steps.json", fifty_steps())):
        with open(os.path.join(HERE, name), "w") as file:
            json.dump(content, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")
