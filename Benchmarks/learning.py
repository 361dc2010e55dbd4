#!/usr/bin/env python3
"""Does bfloat16 learn as float32 does? The same 100 steps of plain SGD on gsm8k, three ways.

    make bench-learning MODEL=DIR DATA=gsm8k.jsonl

Prints the mean loss of the first and last 25 steps and how many weights are not what they were.
"""
import argparse
import json
import random
from statistics import mean

import machine
import qwensft
from train import question

WAYS = [("float32", "nearest"), ("bfloat16", "stochastic"), ("bfloat16", "nearest")]


def learn(options, conversations, dtype, rounding):
    tok = qwensft.Tokenizer.from_pretrained(options.model)
    model = qwensft.Model.from_pretrained(options.model, dtype=dtype)
    trainer = qwensft.Trainer(
        model, optimizer=qwensft.SGD(lr=options.lr), rounds_stochastically=rounding == "stochastic")
    before = {name: values.copy() for name, values in model.named_parameters()}
    losses = []
    for start in range(0, len(conversations), options.rows):
        batch = qwensft.preprocess(tok, conversations[start:start + options.rows], label_policy="assistant")
        losses.append(trainer.step(batch).loss)
    moved = sum(int((before[name] != values).sum()) for name, values in model.named_parameters())
    print(f"{dtype:9}{rounding:11}{mean(losses[:25]):10.5f}{mean(losses[-25:]):10.5f}{moved:15,} of "
          f"{sum(values.size for values in before.values()):,}", flush=True)


def main():
    machine.limit_isa()
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=2, help="conversations of a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    with open(options.data, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(1).shuffle(rows)
    conversations = [question(r["question"], r["answer"]) for r in rows[:options.steps * options.rows]]
    print(f"{'dtype':9}{'rounding':11}{'first 25':>10}{'last 25':>10}{'weights moved':>15}")
    for dtype, rounding in WAYS:
        learn(options, conversations, dtype, rounding)


if __name__ == "__main__":
    main()
