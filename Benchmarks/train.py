#!/usr/bin/env python3
"""Training steps of this library beside PyTorch's, in one run.

    make bench-train MODEL=DIR [DATA=gsm8k.jsonl] [ISA=avx2]
    train.py --model DIR --beside float32        # steps in bfloat16 beside this library's own in float32

Both sides hold the model in a process of their own and step in turns, so that a machine whose speed drifts slows both;
the ratio is the median over pairs. Memory is VmHWM of the process, loading included. The *limit* of a step is the larger
of (operations it must do / best rate of multiplying measured here) and (bytes it must move / read bandwidth); the
head counts at supervised rows only, rows that sequences share count once.
"""
import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import machine
from machine import ROOT

SYSTEM = "You are a helpful assistant."


# ---- Work: (input_ids, labels) rows of ids, ragged; -100 is not learned.

def chat_rows(tok, conversations):
    import qwensft
    batch = qwensft.preprocess(tok, conversations)
    rows = []
    for ids, labels, mask in zip(batch.input_ids, batch.labels, batch.attention_mask):
        n = int(mask.sum())
        rows.append((ids[:n].tolist(), labels[:n].tolist()))
    return rows


def question(user, assistant):
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user},
            {"role": "assistant", "content": assistant}]


def make_work(name, tok, data):
    """A list of batches; each step takes the next one."""
    rng = random.Random(1)
    if name == "article":
        return [chat_rows(tok, [question("2+2等于几", "2+2等于5。")] * 2)]
    if name == "two":
        return [chat_rows(tok, [question("2+2等于几", "2+2等于5。"), question("你是谁？", "我是一个小助手。很高兴见到你！")])]
    if re.fullmatch(r"\d+x\d+", name):  # sequences x tokens, 30 % supervised
        count, length = map(int, name.split("x"))
        rows = [[rng.randrange(100000) for _ in range(length)] for _ in range(count)]
        return [[(r, [-100] * (length * 7 // 10) + r[length * 7 // 10:]) for r in rows]]
    if name == "gsm8k":
        with open(data, encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        rng.shuffle(rows)
        conversations = [question(r["question"], r["answer"]) for r in rows[:64]]
        encoded = chat_rows(tok, conversations)
        return [encoded[i:i + 8] for i in range(0, 64, 8)]
    raise SystemExit(f"unknown work {name}")


def pad(rows):
    import numpy as np
    width = max(len(ids) for ids, _ in rows)
    ids = np.zeros((len(rows), width), np.int64)
    labels = np.full((len(rows), width), -100, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for i, (row, label) in enumerate(rows):
        ids[i, :len(row)], labels[i, :len(row)], mask[i, :len(row)] = row, label, 1
    return ids, labels, mask


# ---- The two sides: read a line, do a step, write what it took.

def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def serve(step):
    print(json.dumps({"memory": memory()}), flush=True)
    for count, _ in enumerate(sys.stdin):
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        loss = step(count)
        seconds = time.perf_counter() - start
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(json.dumps({"seconds": seconds, "loss": loss, "memory": memory(), "faults": faults}), flush=True)


def work_ours(options):
    import qwensft
    machine.limit_isa()
    if options.threads:
        qwensft.set_num_threads(options.threads)
    tok = qwensft.Tokenizer.from_pretrained(options.model)
    batches = [qwensft.Batch(*pad(rows)) for rows in make_work(options.work, tok, options.data)]
    model = qwensft.Model.from_pretrained(options.model, dtype=options.dtype)
    trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=1e-5), recomputation=options.recompute)
    serve(lambda i: trainer.step(batches[i % len(batches)]).loss)


def work_torch(options):
    import qwensft
    import torch
    from transformers import AutoModelForCausalLM
    if options.threads:
        torch.set_num_threads(options.threads)
    tok = qwensft.Tokenizer.from_pretrained(options.model)
    batches = [[torch.from_numpy(a) for a in pad(rows)] for rows in make_work(options.work, tok, options.data)]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)

    def step(i):
        ids, labels, mask = batches[i % len(batches)]
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=labels, attention_mask=mask).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    serve(step)


class Side:
    def __init__(self, name, options, **changes):
        arguments = [sys.executable, __file__, "--side", name, "--model", options.model]
        for key, value in {"work": None, "dtype": None, "data": options.data, **changes}.items():
            if value is True:
                arguments.append(f"--{key}")
            elif value:
                arguments += [f"--{key}", str(value)]
        environment = dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src"))
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{name} did not start")
        self.loaded = json.loads(line)["memory"]
        self.seconds, self.memory, self.faults = [], 0, []

    def step(self):
        time.sleep(0.4)  # until the other side's threads have stopped spinning
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        result = json.loads(self.process.stdout.readline())
        self.seconds.append(result["seconds"])
        self.memory, self.loss = result["memory"], result["loss"]
        self.faults.append(result["faults"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- Limits

def limits():
    """Best rates of multiplying (FLOP/s) by dtype, and read bandwidth (bytes/s).

    The best of what fused multiply-adds do in registers (fma.c) and what large products of PyTorch, OpenBLAS and this library reach.
    """
    import torch
    rates = {}
    for dtype in ("float32", "bfloat16"):
        x, w = torch.randn(1024, 896).to(getattr(torch, dtype)), torch.randn(9728, 896).to(getattr(torch, dtype))
        times = []
        for _ in range(12):
            start = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - start)
        rates[dtype] = 2 * 1024 * 896 * 9728 / median(times[2:])
    bench = ROOT / ".build/release/bench-kernels"
    if bench.exists():
        output = subprocess.run([bench, "gemm", "rows=1024", "shape=gate+up"], capture_output=True, text=True, check=True).stdout
        cells = [float(cell) for cell in output.splitlines()[-1].split()[2:]]
        for dtype, columns in (("bfloat16", cells[:-6]), ("float32", cells[-6:])):
            rates[dtype] = max(rates[dtype], max(columns) * 1e9)
    fma = machine.fma_rate(torch.get_num_threads())
    rates = {dtype: max(rate, fma) for dtype, rate in rates.items()}
    block = torch.ones(1 << 28, dtype=torch.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        block.sum()
        times.append(time.perf_counter() - start)
    return rates, 4 * (1 << 28) / median(times)


def needed(rows, config, dtype):
    """Operations and bytes of a step that computes every distinct prefix once and the head where it counts."""
    prefixes, heads, attention = set(), set(), 0
    for ids, labels in rows:
        last = max((t for t in range(1, len(ids)) if labels[t] != -100), default=0)
        for t in range(last):
            key = hash(tuple(ids[:t + 1]))
            if key not in prefixes:
                attention += t + 1
            prefixes.add(key)
            if labels[t + 1] != -100:
                heads.add(key)
    h, i, v, n = config["hidden_size"], config["intermediate_size"], config["vocab_size"], config["num_hidden_layers"]
    d = config.get("head_dim", h // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    layer = h * (q + 2 * kv) + q * h + 3 * h * i
    operations = 6 * len(prefixes) * n * layer + 6 * len(heads) * h * v + n * attention * q * (4 + 10)
    # Every weight is read for forward, for the input's gradient, and read and written by the update.
    return operations, 4 * (n * layer + h * v) * (4 if dtype == "float32" else 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data")
    parser.add_argument("--work", default="article,two,4x256,gsm8k")
    parser.add_argument("--dtype", default="float32,bfloat16")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", choices=["ours", "torch"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--beside", default="torch", help="torch in the same dtype, or a dtype of this library")
    options = parser.parse_args()
    if options.side:
        return work_ours(options) if options.side == "ours" else work_torch(options)

    sys.path.insert(0, str(ROOT / "bindings/python/src"))
    import qwensft
    machine.limit_isa()
    tok = qwensft.Tokenizer.from_pretrained(options.model)
    config = json.loads((Path(options.model) / "config.json").read_text())
    rates, bandwidth = limits()
    print(f"limits here: float32 {rates['float32'] / 1e9:.0f} GFLOP/s, bfloat16 {rates['bfloat16'] / 1e9:.0f} GFLOP/s, "
          f"memory {bandwidth / 1e9:.0f} GB/s", flush=True)
    other = options.beside
    print(f"{'work':9}{'dtype':10}{'ours s':>8}{other + ' s':>11}{'ratio':>7}{'limit s':>9}{'of limit':>9}{'ours GB':>9}{other + ' GB':>12}", flush=True)
    for work in options.work.split(","):
        if work == "gsm8k" and not options.data:
            print("gsm8k: left out, DATA=FILE is not given")
            continue
        for dtype in options.dtype.split(","):
            if dtype == other:
                continue
            ours = Side("ours", options, work=work, dtype=dtype)
            name, beside_dtype = ("torch", dtype) if other == "torch" else ("ours", other)
            beside = Side(name, options, work=work, dtype=beside_dtype)
            for _ in range(options.steps + 1):
                ours.step()
                beside.step()
            pairs = list(zip(ours.seconds, beside.seconds))[1:]  # the first step is a warm-up
            batches = make_work(work, tok, options.data)
            limit = median(
                max(o / rates[dtype], b / bandwidth)
                for o, b in (needed(batches[i % len(batches)], config, dtype) for i in range(1, options.steps + 1)))
            mine, theirs = median(a for a, _ in pairs), median(b for _, b in pairs)
            print(f"{work:9}{dtype:10}{mine:8.2f}{theirs:11.2f}{median(b / a for a, b in pairs):7.2f}{limit:9.2f}"
                  f"{limit / mine:9.0%}{ours.memory / 1e9:9.2f}{beside.memory / 1e9:12.2f}", flush=True)
            ours.close()
            beside.close()


if __name__ == "__main__":
    main()
