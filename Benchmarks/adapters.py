#!/usr/bin/env python3
"""Steps of an adapter (LoRA, r = 8 on all linear layers, AdamW) beside full SGD steps, and the memory they take.

    make bench-adapters MODEL=DIR
    PYTHONPATH=bindings/python/src python3 Benchmarks/adapters.py --model DIR [--bases bfloat16,int8,...] [--peft float32,bfloat16]

The full step, the adapter's step on the same bfloat16 weights, those on the other bases and PyTorch's with PEFT take turns in one
process; ratios are medians over rounds. The peak (VmHWM, loading included) is of a process of its own that takes two steps on one
row of 256 tokens with activation checkpointing. Decoding compares greedy answers with the adapter set and not set, and a
clone's answers alone and beside training.
"""
import argparse
import random
import re
import subprocess
import sys
import threading
import time
from statistics import median

import machine
import numpy as np
import qwensft

FORMATS = ["bfloat16", "lossless", "int8", "int6", "int4"]


def batch(rows, length, supervised=0.3):
    rng = random.Random(1)
    ids = np.array([[rng.randrange(100000) for _ in range(length)] for _ in range(rows)], dtype=np.int64)
    labels = ids.copy()
    labels[:, : int(length * (1 - supervised))] = -100
    return qwensft.Batch(ids, labels)


def base(directory, name):
    if name in ("float32", "bfloat16"):
        return qwensft.Model.from_pretrained(directory, dtype=name)
    return qwensft.Model.from_pretrained(directory, quantization=name)


def adapted(model, lr=1e-4, **options):
    model.add_adapter(qwensft.LoraConfig(r=8, lora_alpha=16))
    return qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=lr), **options)


def peft_step(directory, dtype, rows):
    """A step of PyTorch with PEFT, as a function that gives its seconds."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(qwensft.get_num_threads())
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids, labels = (torch.from_numpy(np.asarray(x)) for x in (rows.input_ids, rows.labels))

    def step():
        start = time.perf_counter()
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


def steps(options, names):
    """Steps in turns, printed as seconds and ratios. Returns the bfloat16 model; its adapter is "default"."""
    rows = batch(options.rows, options.length)
    model = base(options.model, "bfloat16")
    full = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=1e-12))

    def side(owner, adapter, trainer):
        def step():
            owner.set_adapter(adapter)
            return trainer.step(rows).seconds
        return step

    sides = {"full SGD": side(model, None, full), "bfloat16": side(model, "default", adapted(model))}
    for name in names:
        if name != "bfloat16":
            other = base(options.model, name)
            sides[name] = side(other, "default", adapted(other))
    for dtype in options.peft.split(",") if options.peft else []:
        sides["PEFT " + dtype] = peft_step(options.model, dtype, rows)
    seconds = {name: [] for name in sides}
    for round in range(options.rounds + 1):
        for name, step in sides.items():
            time.sleep(0.4)  # until the threads of the side before have stopped spinning
            took = step()
            if round:  # the first is a warm-up
                seconds[name].append(took)
    for name, times in seconds.items():
        against = "full SGD" if name in ("full SGD", "bfloat16") else "bfloat16"
        ratio = median(a / b for a, b in zip(times, seconds[against]))
        print(f"{options.rows} x {options.length}  {name:13} {median(times):7.3f} s   {ratio:.3f} of {against}", flush=True)
    return model


def answers(options, model):
    """Tokens a second of greedy answers, without and with the adapter."""
    ids = list(range(1000, 1064))
    rates = {None: [], "default": []}
    for _ in range(options.rounds):
        for adapter, times in rates.items():
            model.set_adapter(adapter)
            model.generate(ids, max_new_tokens=1, do_sample=False)
            start = time.perf_counter()
            count = len(model.generate(ids, max_new_tokens=48, do_sample=False))
            times.append(count / (time.perf_counter() - start))
    ratio = median(a / b for a, b in zip(rates["default"], rates[None]))
    print(f"decode     bfloat16   {median(rates[None]):.1f} tok/s without, {ratio:.3f} of that with the adapter", flush=True)


def chat_beside_training(options, model):
    """Milliseconds from token to token of a clone's answer, alone and while the model's adapter is trained."""
    tok = qwensft.Tokenizer.from_pretrained(options.model)
    clone = model.clone()
    model.set_adapter("default")
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-4))
    rows, over, done = batch(1, 256), threading.Event(), []

    def gaps():
        last, found = None, []
        for _ in clone.stream_chat(tok, "Count from one to a hundred.", max_new_tokens=64, do_sample=False):
            now = time.perf_counter()
            if last:
                found.append(1e3 * (now - last))
            last = now
        return sorted(found)

    def train():
        while not over.is_set():
            done.append(trainer.step(rows).seconds)

    gaps()
    alone = gaps()
    train_alone = median(trainer.step(rows).seconds for _ in range(2))
    thread = threading.Thread(target=train)
    thread.start()
    try:
        time.sleep(1)
        start = len(done)
        beside = gaps()
    finally:
        over.set()
        thread.join()  # the step under way ends, so that there is one
    for name, times in (("alone", alone), ("while an adapter trains", beside)):
        print(f"token      {name:24} {median(times):.0f} ms, nine of ten within {times[len(times) * 9 // 10]:.0f}, all within {times[-1]:.0f}")
    print(f"step of 256 tokens: {train_alone:.2f} s alone, {median(done[start:]):.2f} s beside the chat", flush=True)


def peak(directory, name):
    trainer = adapted(base(directory, name), recomputation=True)
    rows = batch(1, 256)
    for _ in range(2):
        trainer.step(rows)
    with open("/proc/self/status") as status:
        print(int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) * 1024)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--bases", default=",".join(FORMATS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--peft", default="", help="dtypes of PyTorch with PEFT to compare with")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-peaks", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    machine.limit_isa()
    if args.peak:
        return peak(args.model, args.peak)
    names = args.bases.split(",")
    if not args.skip_speed:
        model = steps(args, names)
        answers(args, model)
        chat_beside_training(args, model)
        del model
    for name in [] if args.skip_peaks else names:
        command = [sys.executable, __file__, "--model", args.model, "--peak", name]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"peak       {name:10} {int(result.stdout) / 1e9:.2f} GB, one row of 256 tokens, activation checkpointing", flush=True)


if __name__ == "__main__":
    main()
