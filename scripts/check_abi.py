#!/usr/bin/env python3
"""check_abi.py [--accept]: the binary interface that the header promises, beside the one that programs were built with.

The header is compiled with an empty body for every function, which gives abidw C types to look at (those of the library are
Swift's; that it exports just these functions is tested elsewhere). abidiff compares with Tests/ABI/qwensft.abi: functions and fields at
the end of a struct may be added, anything else fails. abidiff 2.2 says nothing of a field whose type has changed where fields may be
added, and does not see constants: both are compared with Tests/ABI/declarations.txt.
--accept writes the two files anew, as a release does. On Debian: abigail-tools.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from make_bindings import HEADER, ROOT, parse

ABI = ROOT / "Tests" / "ABI" / "qwensft.abi"
DECLARATIONS = ROOT / "Tests" / "ABI" / "declarations.txt"
GROWTH = ROOT / "Tests" / "ABI" / "growth.ini"
OPTIONS = ["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--short-locs", "--no-elf-needed"]


def dump(header, output):
    """Writes the interface of a header's functions to `output`."""
    lines = ["#include <qwensft.h>"]
    for form, *groups in parse(header.read_text()):
        if form == "function":
            result, name, arguments = (" ".join(group.split()) for group in groups)
            result = result.replace("SFT_RESULT", "sft_status")
            lines.append(f"{result} {name}({arguments}) {{ {'' if result == 'void' else 'return 0;'} }}")
    with tempfile.TemporaryDirectory() as directory:
        source, library = Path(directory, "interface.c"), Path(directory, "libqwensft.so")
        source.write_text("\n".join(lines) + "\n")
        subprocess.run(
            ["cc", "-g", "-shared", "-fPIC", "-w", f"-I{header.parent}", source, "-Wl,-soname=libqwensft.so.0", "-o", library],
            check=True,
        )
        subprocess.run(["abidw", *OPTIONS, "--out-file", output, library], check=True)


def declarations(header):
    """Every constant of a header's enums, "SFT_OK = 0", and every field with its place, "sft_text[0] const char *data"."""
    lines = []
    for form, first, *rest in parse(header.read_text()):
        if form == "enum":
            lines += re.findall(r"\w+ = \d+", rest[0])
        elif form == "struct":
            fields = [" ".join(field.split()) for field in rest[0].split(";") if field.strip()]
            lines += [f"{first}[{i}] {field}" for i, field in enumerate(fields)]
    return lines


def differences(header):
    """What of the promised interface a header breaks, as text; "" if nothing."""
    found = set(declarations(header))
    missing = [line for line in DECLARATIONS.read_text().splitlines() if line not in found]
    report = "".join(f"the header no longer says {line}\n" for line in missing)
    with tempfile.TemporaryDirectory() as directory:
        now = Path(directory, "now.abi")
        dump(header, now)
        done = subprocess.run(
            ["abidiff", "--no-added-syms", "--suppressions", GROWTH, ABI, now], capture_output=True, text=True
        )
    return report + (done.stdout + done.stderr if done.returncode != 0 else "")


if __name__ == "__main__":
    if not shutil.which("abidiff"):
        print("not installed, so not tested: abidiff")
    elif "--accept" in sys.argv:
        dump(HEADER, ABI)
        DECLARATIONS.write_text("\n".join(declarations(HEADER)) + "\n")
    elif found := differences(HEADER):
        raise SystemExit(f"{found}programs built with the last release would not work; before one, make abi accepts this")
    else:
        print("the header keeps the binary interface of Tests/ABI")
