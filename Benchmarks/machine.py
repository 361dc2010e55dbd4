"""The processor: limited to an instruction set, and what it could do at best."""
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def limit_isa():
    """ISA in the environment (make bench-... ISA=avx2) limits this library; the Makefile limits peers by variables of their own."""
    if os.environ.get("ISA"):
        import qwensft
        qwensft.set_max_isa(os.environ["ISA"])


def fma_rate(threads):
    """Float32 operations a second of fused multiply-adds in registers (fma.c)."""
    program = ROOT / "build/bench/fma"
    program.parent.mkdir(parents=True, exist_ok=True)
    flags = ["-mavx2", "-mfma"] if os.environ.get("ISA") == "avx2" else ["-march=native"]
    command = ["cc", "-O3", *flags, "-ffp-contract=fast", "-pthread", ROOT / "Benchmarks/fma.c", "-o", program]
    subprocess.run(command, check=True)
    return float(subprocess.run([program, str(threads)], capture_output=True, text=True, check=True).stdout)
