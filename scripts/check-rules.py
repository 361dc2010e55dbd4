#!/usr/bin/env python3
"""Holds the direction of knowledge between the rooms of QwenSFTCore, and says how large things are.

A room may use the types and functions of those before it. What check-rules.txt lists is known and to be mended; what is against
the rules and not listed there fails.
"""
import pathlib
import re
import sys

TEXT = ["Support", "IO", "Tokenizer", "Chat", "Preprocess"]
MATH = ["Support", "IO", "Ops", "Model"]
MAY_USE = {
    "Support": [], "IO": ["Support"],
    "Tokenizer": TEXT[:2], "Chat": TEXT[:3], "Preprocess": TEXT[:4],
    "Ops": MATH[:2], "Model": MATH[:3], "Checkpoint": MATH + ["Tokenizer"],
    "Generation": TEXT + MATH[2:] + ["Checkpoint"], "Training": TEXT + MATH[2:] + ["Checkpoint", "Generation"],
    "Report": TEXT + MATH[2:] + ["Checkpoint", "Generation", "Training"],
}
# C modules, and the rooms that may call them. Support converts elements, which files need as well as arithmetic does. The C library
# is imported as Libc.
C_MODULES = {
    "CKernels": ["Support", "Ops"], "CText": ["IO", "Tokenizer"], "CSystem": ["Support", "IO", "Checkpoint"], "COpenBLAS": ["Ops"],
    "Glibc": [],
}
EXCEPTIONS = set(pathlib.Path(__file__).with_suffix(".txt").read_text().split("\n")) - {""}

core = pathlib.Path("Sources/QwenSFTCore")
MODIFIERS = r"(?:(?:public|package|internal|final|indirect|nonisolated|@\w+(?:\([^)]*\))?)\s+)*"
DECLARATION = re.compile(rf"^{MODIFIERS}(?:struct|class|enum|protocol|actor|typealias|func|let|var)\s+(\w+)", re.M)


def code(path):
    """A file's text without comments and strings."""
    text = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text())
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//.*", "", text)


files = {path: code(path) for path in sorted(core.rglob("*.swift"))}
homes = {}  # a name and the rooms that declare it
for path, text in files.items():
    for name in DECLARATION.findall(text):
        homes.setdefault(name, set()).add(path.relative_to(core).parts[0])

found, failures = set(), []
for path, text in files.items():
    room = path.relative_to(core).parts[0]
    if room not in MAY_USE:
        failures.append(f"{path}: the room {room} is not in {sys.argv[0]}")
        continue
    for module in re.findall(r"^import (\w+)", text, re.M):
        if room not in C_MODULES.get(module, [room]):
            found.add(f"{path.relative_to(core)} imports {module}")
    for name in set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", text)):
        there = homes.get(name, {room})
        # Functions begin with a small letter, as local names do: those that are called.
        if name[0].islower() and not re.search(rf"(?<![.\w]){name}\(", text):
            continue
        if room not in there and not there & set(MAY_USE[room]):
            found.add(f"{path.relative_to(core)} uses {name} of {'/'.join(sorted(there))}")

failures += [f"{use}: against the direction of knowledge" for use in sorted(found - EXCEPTIONS)]

PARAMETERS = re.compile(r"\b(?:func\s+\w+|init)[^({\n]*\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")
long_files = [path for path in files if path.read_text().count("\n") > 400]
many = [
    f"{path.relative_to(core)}:{text[:match.start()].count(chr(10)) + 1}"
    for path, text in files.items() for match in PARAMETERS.finditer(text)
    if len(re.findall(r":", re.sub(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>", "", match.group(1)))) > 7
]
print(f"{len(files)} files, {len(found & EXCEPTIONS)} known exceptions, {len(long_files)} files of more than 400 lines, "
      f"{len(many)} functions of more than 7 parameters")
for use in sorted(EXCEPTIONS - found):
    print(f"{use}: no longer so, take it out of check-rules.txt")
if "--list" in sys.argv:
    print("\n".join([*map(str, long_files), *many]))
print("\n".join(failures), end="\n" if failures else "")
sys.exit(bool(failures))
