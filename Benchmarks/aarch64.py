#!/usr/bin/env python3
"""Cycles of the aarch64 kernels' inner loops, computed by llvm-mca and not measured.

Compiles Sources/CKernels for aarch64, takes the innermost loop with the most multiplications out of each function, and lets
llvm-mca run it with operands in the first-level cache. Wants clang, as it comes with Swift, llvm-mca 19 or later (older ones
have no model of Neoverse V1), and the headers of gcc-aarch64-linux-gnu (apt).

    Benchmarks/aarch64.py [--mca llvm-mca-22] [--clang CLANG] [--show KERNEL]
"""

import argparse
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "Sources" / "CKernels"

# Products of one instruction, by mnemonic: 128 bits of float32, of bytes, of four int16.
PRODUCTS = {"fmla": 4, "sdot": 16, "usdot": 16, "smlal": 4, "smlal2": 4}

# Processors, and how many multiplying instructions their vector units can begin in a cycle: the peak. (Of smlal the Neoverses begin
# half as many.) Of Apple's processors LLVM has only Cyclone's model, which is older than the M1: 3 vector units, where that has 4.
PROCESSORS = {"neoverse-v1": 4, "neoverse-n2": 2, "apple-m1": 3}

# What it is, source, function, and the weights of one turn of its loop; a product's work is its multiply-adds.
LOOPS = [
    ("product of panels, 6 × 16", "gemm_f32_blocks_neon.c", "block_6", None),
    ("row, float32", "gemv_neon.c", "qk_gemv_f32_neon", 32),
    ("row, bfloat16", "gemv_neon.c", "qk_gemv_bf16_neon", 32),
    ("row, lossless", "packed_bf16_neon.c", "qk_gemv_packed_bf16_neon", 128),
    *[
        (f"row, {form}, {capability}", f"gemv_rows_{capability}.c", f"qk_gemv_{form}_{capability}", 64)
        for form in ("int8", "int6", "int4")
        for capability in ("neon", "dotprod", "i8mm")
    ],
]


def assembly(clang: str, source: str) -> str:
    command = [clang, "--target=aarch64-linux-gnu", "-isystem", "/usr/aarch64-linux-gnu/include", "-O2", "-std=gnu11"]
    command += [f"-I{KERNELS}", f"-I{KERNELS / 'include'}", "-S", str(KERNELS / source), "-o", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def multiplications(lines: list[str]) -> int:
    return sum(PRODUCTS.get(line.split()[0], 0) for line in lines)


def inner_loops(text: str, function: str) -> list[list[str]]:
    """The loops of a function that hold no other, as instructions."""
    body = text.split(f"\n{function}:", 1)[1].split("\n.Lfunc_end", 1)[0]
    lines = [line.split("//")[0].strip() for line in body.splitlines()]
    lines = [line for line in lines if line and (line.endswith(":") or not line.startswith("."))]
    at = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    spans = []
    for i, line in enumerate(lines):
        target = re.search(r"(\.LBB\S+)$", line)
        if target and at.get(target.group(1), i) < i:
            spans.append((at[target.group(1)], i))
    inner = [a for a in spans if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in spans)]
    return [[line for line in lines[a : b + 1] if not line.endswith(":")] for a, b in inner]


def cycles(mca: str, processor: str, loop: list[str], turns: int = 500) -> float:
    command = [mca, "-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm", f"-iterations={turns}"]
    report = subprocess.run(command, input="\n".join(loop), check=True, capture_output=True, text=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", report).group(1)) / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mca", default="llvm-mca")
    parser.add_argument("--clang", default="clang")
    parser.add_argument("--show", help="print the loop of what contains this text, too")
    options = parser.parse_args()
    print("| loop | a turn | " + " | ".join(f"{p}: cycles, of the peak" for p in PROCESSORS) + " | a cycle |")
    print("|---" * (3 + len(PROCESSORS)) + "|")
    for name, source, function, weights in LOOPS:
        loops = inner_loops(assembly(options.clang, source), function)
        # Of a row's product the loop for a single row of x, which is what decoding runs: it is the one that multiplies least, but for
        # what is left at a row's end.
        most = max(map(multiplications, loops))
        pick = min if weights else max
        loop = pick((x for x in loops if multiplications(x) * 5 > most), key=multiplications)
        if options.show and options.show in name:
            print("\n".join(loop))
        work = weights or multiplications(loop)
        instructions = sum(line.split()[0] in PRODUCTS for line in loop)
        cells, speeds = [], []
        for processor, units in PROCESSORS.items():
            each = cycles(options.mca, processor, loop)
            cells.append(f"{each:.1f}, {100 * instructions / units / each:.0f} %")
            speeds.append(f"{work / each:.1f}")
        print(f"| {name} | {work} | " + " | ".join(cells) + f" | {' · '.join(speeds)} |")


if __name__ == "__main__":
    main()
