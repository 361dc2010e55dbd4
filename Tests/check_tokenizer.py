#!/usr/bin/env python3
"""Compare this library's ids and texts with those of Hugging Face `tokenizers`, by hand, on real data.

    PYTHONPATH=bindings/python/src python3 Tests/check_tokenizer.py TOKENIZER_DIR [FILE_OR_DIR ...]

TOKENIZER_DIR must hold tokenizer.json. Compared, in this order:

1. every code point, alone, decomposed, and between letters, spaces and marks. `tokenizers` carries other versions of the
   Unicode tables (older ones for NFC, newer ones for the split); code points that differ are listed and left out of what follows;
2. generated strings (seeded): white space, mixed scripts, emoji, combining marks, digits, contractions, added tokens;
3. every line and every whole file of the given files (JSON files also string by string), and all of them joined;
4. decoding of random ids, with and without special tokens.

Exit status 1 and the first strings that differ, if any does. Needs `tokenizers` from PyPI.
"""
import json
import os
import random
import sys
import time
import unicodedata

import tokenizers

import qwensft

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "Fixtures"))
from make_tokenizer_fixtures import generated  # noqa: E402

def ranges(points):
    points, out = sorted(points), []
    for c in points:
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return [f"U+{a:04X}" + (f"–U+{b:04X}" if b > a else "") for a, b in out]


class Check:
    def __init__(self, directory):
        self.theirs = tokenizers.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
        self.ours = qwensft.Tokenizer.from_pretrained(directory)
        self.failures = 0

    def differing(self, texts):
        found = []
        for text, theirs in zip(texts, self.theirs.encode_batch_fast(texts, add_special_tokens=False)):
            if list(self.ours.encode(text)) != theirs.ids:
                found.append((text, theirs.ids))
        return found

    def compare(self, what, texts):
        start, count, size = time.time(), 0, 0
        different = []
        for i in range(0, len(texts), 4096):
            batch = texts[i:i + 4096]
            different += self.differing(batch)
            count += len(batch)
            size += sum(map(len, batch))
        print(f"{what}: {count} strings, {size} characters, {len(different)} different ({time.time() - start:.1f} s)", flush=True)
        for text, ids in different[:5]:
            print(f"  {text[:200]!r}\n    theirs {ids[:40]}\n    ours   {list(self.ours.encode(text))[:40]}")
        self.failures += len(different)

    def code_points(self):
        different = set()
        for start in range(0, 0x110000, 4096):
            block = [c for c in range(start, start + 4096) if not 0xD800 <= c < 0xE000]
            if not block:
                continue
            texts = [
                f"{c} a{c}b {c}{c}1{c}\u0301\u0323{c}\n \n{c}a\n \n{unicodedata.normalize('NFD', c)}" for c in map(chr, block)]
            different |= {ord(text[0]) for text, _ in self.differing(texts)}
        print(f"code points: {0x110000 - 0x800} compared, {len(different)} different")
        if different:
            print("  " + ", ".join(ranges(different)))
        return different

    def decoding(self, rng):
        different = 0
        for _ in range(3000):
            ids = [rng.randrange(self.theirs.get_vocab_size()) for _ in range(rng.randrange(40))]
            for skip in (False, True):
                if self.theirs.decode(ids, skip_special_tokens=skip) != self.ours.decode(ids, skip_special_tokens=skip):
                    different += 1
        print(f"decoding: 6000 lists of ids, {different} different")
        self.failures += different


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    check = Check(sys.argv[1])
    rng = random.Random(20240607)
    left_out = check.code_points()

    def keep(texts):
        return [t for t in texts
                if left_out.isdisjoint(map(ord, t)) and left_out.isdisjoint(map(ord, unicodedata.normalize("NFC", t)))]

    everything = [c for c in range(0x20, 0x110000) if not 0xD800 <= c < 0xE000 and c not in left_out]

    check.compare("generated", keep(generated(rng, 200_000, everything)))
    check.compare("long", ["".join(keep(generated(rng, 2000, everything))) for _ in range(20)])
    paths = []
    for path in sys.argv[2:]:
        paths += [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
    joined = []
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        lines = text.splitlines(keepends=True)
        texts = keep(lines)
        if path.endswith(".json"):
            texts += keep(strings(json.loads(text)))
        elif path.endswith(".jsonl"):
            texts += keep(s for line in lines for s in strings(json.loads(line)))
        elif os.path.basename(path) == "NormalizationTest.txt":
            for line in lines:
                if line[0] not in "#@":
                    texts += keep("".join(chr(int(c, 16)) for c in column.split()) for column in line.split(";")[:5])
        check.compare(os.path.basename(path), texts + keep([text]))
        joined += keep([text])
    if joined:
        check.compare("all files as one", ["".join(joined)])
    check.decoding(rng)
    raise SystemExit(1 if check.failures else 0)


if __name__ == "__main__":
    main()
