#!/usr/bin/env python3
"""Trains the tiny model from nothing with this library; writes its files into the folder above.

    make build && python3 Examples/tiny-qwen2/make/train.py      # several minutes; needs numpy

The tokenizer's files are there already (make_tokenizer.py makes them). Random weights are written as a
checkpoint, the library opens it, trains it with AdamW on the conversations of make_data.py, is asked every
question it should be able to answer, and the result is saved in bfloat16.
"""
import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.dirname(HERE)
sys.path.append(os.path.join(HERE, "../../../bindings/python/src"))

import make_data
import qwensft

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 700, "eos_token_id": 702,
    "hidden_act": "silu", "hidden_size": 128, "initializer_range": 0.02, "intermediate_size": 384,
    "max_position_embeddings": 2048, "max_window_layers": 4, "model_type": "qwen2", "num_attention_heads": 4,
    "num_hidden_layers": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
    "sliding_window": 2048, "tie_word_embeddings": True, "torch_dtype": "float32", "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 704}        # the tokenizer's 703, and one row without a token, as Qwen2's embedding has them too
GENERATION_CONFIG = {
    "bos_token_id": 700, "pad_token_id": 700, "eos_token_id": [702, 700], "do_sample": False,
    "repetition_penalty": 1.0}


def random_weights(seed):
    rng = np.random.default_rng(seed)
    h, inter, layers = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["num_hidden_layers"]
    kv = h // CONFIG["num_attention_heads"] * CONFIG["num_key_value_heads"]

    def matrix(rows, columns, scale=1.0):
        return (rng.standard_normal((rows, columns)) * scale / math.sqrt(columns)).astype(np.float32)

    ones = np.ones(h, np.float32)
    residual = 1 / math.sqrt(2 * layers)
    weights = {"model.embed_tokens.weight": matrix(CONFIG["vocab_size"], h, 0.02 * math.sqrt(h))}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name, rows in (("q", h), ("k", kv), ("v", kv)):
            weights[f"{p}self_attn.{name}_proj.weight"] = matrix(rows, h)
            weights[f"{p}self_attn.{name}_proj.bias"] = np.zeros(rows, np.float32)
        weights[p + "self_attn.o_proj.weight"] = matrix(h, h, residual)
        weights[p + "mlp.gate_proj.weight"] = matrix(inter, h)
        weights[p + "mlp.up_proj.weight"] = matrix(inter, h)
        weights[p + "mlp.down_proj.weight"] = matrix(h, inter, residual)
        weights[p + "input_layernorm.weight"] = ones
        weights[p + "post_attention_layernorm.weight"] = ones
    return weights | {"model.norm.weight": ones}


def write_checkpoint(directory, weights):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, w in weights.items():
        header[name] = {"dtype": "F32", "shape": w.shape, "data_offsets": [offset, offset + w.nbytes]}
        offset += w.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(os.path.join(directory, "model.safetensors"), "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        for w in weights.values():
            f.write(w.tobytes())
    for name, value in (("config.json", CONFIG), ("generation_config.json", GENERATION_CONFIG)):
        with open(os.path.join(directory, name), "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(TARGET, name), directory)


def learning_rate(step, steps, peak):
    """Up over 50 steps, straight down over the last four fifths."""
    return peak * min((step + 1) / 50, 1, max((steps - step) / (0.8 * steps), 0.01))


def wrong_answers(model, tokenizer, questions):
    for question, answer in questions:
        said = model.chat(tokenizer, question, max_new_tokens=64)
        if said != answer:
            yield question, answer, said


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=2000)
    arguments.add_argument("--rows", type=int, default=32)
    arguments.add_argument("--lr", type=float, default=3e-3)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--target", default=TARGET)
    a = arguments.parse_args()

    with tempfile.TemporaryDirectory() as work:
        write_checkpoint(work, random_weights(a.seed))
        tokenizer = qwensft.Tokenizer.from_pretrained(work)
        model = qwensft.Model.from_pretrained(work, dtype="float32")
        trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(betas=(0.9, 0.98), weight_decay=0.0))
        conversations = make_data.conversations(a.steps * a.rows, a.seed)
        start = time.time()
        for step in range(a.steps):
            batch = qwensft.preprocess(tokenizer, [next(conversations) for _ in range(a.rows)])
            trainer.set_lr(learning_rate(step, a.steps, a.lr))
            m = trainer.step(batch)
            if (step + 1) % 50 == 0:
                print(f"step {step + 1}/{a.steps}  loss {m.loss:.4f}  {time.time() - start:.0f} s", flush=True)
        saved = os.path.join(work, "saved")
        model.save_pretrained(saved, dtype="bfloat16")
        for name in ("config.json", "generation_config.json", "model.safetensors"):
            shutil.copy(os.path.join(saved, name), a.target)

        # What people get is rounded to bfloat16, so that is what is asked.
        model = qwensft.Model.from_pretrained(saved)
        questions = list(make_data.checks())
        wrong = list(wrong_answers(model, tokenizer, questions))
        for question, answer, said in wrong[:20]:
            print(f"{question!r} -> {said!r}, not {answer!r}")
        print(f"{len(questions) - len(wrong)} of {len(questions)} questions answered rightly")


if __name__ == "__main__":
    main()
