#!/usr/bin/env python3
"""What a training step costs when threads, recomputation or length change: this library beside itself, in one run.

    make bench-scaling MODEL=DIR                     # or: scaling.py --model DIR [--dtype bfloat16] [--long 32768]

Pairs step in turns, each in a process of its own, as in train.py; a ratio is the median over pairs. `faults` are page
faults of a step after the first: memory that it had to ask the system for, in pages of 4 KiB or 2 MiB.
"""
import argparse
from statistics import median

from train import Side


def describe(label, side):
    print(f"{label:38}{median(side.seconds[1:] or side.seconds):9.2f} s{side.memory / 1e9:8.2f} GB peak"
          f"{(side.memory - side.loaded) / 1e9:8.2f} GB for the step{median(side.faults[1:] or side.faults):9.0f} faults", flush=True)


def compare(options, work, dtype, what, first, second):
    """Steps two settings in turns; prints both and first / second."""
    sides = [Side("ours", options, work=work, dtype=dtype, **changes) for _, changes in (first, second)]
    for _ in range(options.steps + 1):
        for side in sides:
            side.step()
    for (label, _), side in zip((first, second), sides):
        describe(f"{work} {dtype}, {label}", side)
    ratio = median(a / b for a, b in list(zip(*(side.seconds for side in sides)))[1:])
    memory = [side.memory - side.loaded for side in sides]
    print(f"    {what}: time x {ratio:.2f}, memory of the step x {memory[0] / memory[1]:.2f}", flush=True)
    for side in sides:
        side.close()


def alone(options, work, dtype, steps):
    side = Side("ours", options, work=work, dtype=dtype, recompute=True)
    for _ in range(steps):
        side.step()
    describe(f"{work} {dtype}, recomputing", side)
    side.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="float32,bfloat16")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--long", type=int, nargs="*", default=[], help="lengths of one sequence to train on, e.g. 8192 32768")
    options = parser.parse_args()
    options.data = None
    for dtype in options.dtype.split(","):
        compare(options, "4x256", dtype, "one thread / two", ("1 thread", {"threads": 1}), ("2 threads", {"threads": 2}))
        compare(options, "4x512", dtype, "recomputing / not", ("recomputing", {"recompute": True}), ("keeping", {}))
        alone(options, "16x1024", dtype, 1)
        for length in options.long:
            alone(options, f"1x{length}", dtype, 1)


if __name__ == "__main__":
    main()
