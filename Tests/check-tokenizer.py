#!/usr/bin/env python3
"""Compare this library's ids and texts with those of Hugging Face `tokenizers`, by hand, on real data.

    PYTHONPATH=bindings/python/src python3 Tests/check-tokenizer.py TOKENIZER_DIR [FILE_OR_DIR ...]

TOKENIZER_DIR must hold tokenizer.json. Compared, in this order:

1. every code point, alone and between letters, spaces and marks. `tokenizers` carries older Unicode tables; code points
   that differ are listed and left out of what follows;
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

import tokenizers

import qwensft

WORDS = ["hello", "World", "it's", "IT'S", "don'T", "we'LL", "I'\u017f", "x're", "'", "''", "ſ", "naïve", "cafe\u0301", "été", "Ångström",
         "你好", "２＋２", "附近的人", "日本語テキスト", "こんにちは", "한국어", "안녕하세요", "Привет", "мир", "العربية", "שלום", "हिन्दी",
         "ไทย", "Việt", "Vi\u0323e\u0302\u0323t", "Ελληνικά", "ქართული", "ក្រុម", "👨‍👩‍👧", "🇩🇪", "👍🏽", "🦙", "∑", "½", "²", "Ⅷ", "٣", "123", "4.5e-6",
         "…", "——", "«»", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "<tool_call>", "\u1100\u1161\u11a8", "각\u11a8", "\ufdfa", "ﬁ",
         "\u200b", "\ufeff", "\u00ad", "\u0344", "\u0958", "\u2126", "\u212b", "\U0002f800", "\U0001d15e", "\ue000", "\U000e0067", "𝔘𝔫", "𠮷"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\u0085", "\u00a0", "\u3000", "\u2003", "\u2028", "\u1680", "\x0b", "\x0c",
          "\x1c", "\x1f", "\x00", ""]
MARKS = [chr(c) for c in [*range(0x300, 0x350), 0x591, 0x5B0, 0x93C, 0x94D, 0x9BE, 0x9D7, 0xB3E, 0xDDF, 0x1037, 0x302A, 0x3099, 0x309A, 0x1D165, 0x1D16E]]


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
            texts = [f"{chr(c)} a{chr(c)}b {chr(c)}{chr(c)}1{chr(c)}\u0301\u0323{chr(c)}" for c in block]
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


def generated(rng, count, left_out):
    everything = [c for c in range(0x20, 0x30000) if not 0xD800 <= c < 0xE000 and c not in left_out]
    for i in range(count):
        parts = []
        for _ in range(rng.randrange(1, 24)):
            kind = rng.random()
            if kind < 0.45:
                parts.append(rng.choice(WORDS))
            elif kind < 0.7:
                parts.append(rng.choice(SPACES) * rng.randrange(1, 4))
            elif kind < 0.8:
                parts.append("".join(rng.choice(MARKS) for _ in range(rng.randrange(1, 5))))
            elif kind < 0.9:
                parts.append("".join(chr(rng.choice(everything)) for _ in range(rng.randrange(1, 4))))
            else:
                start = rng.choice([0x20, 0x400, 0x600, 0x900, 0xE00, 0x3040, 0x4E00, 0x5000, 0x6000, 0x7000, 0x8000, 0xAC00, 0xC000])
                parts.append("".join(chr(c) for c in (rng.randrange(start, start + 0x100) for _ in range(rng.randrange(1, 9))) if c not in left_out))
        yield "".join(parts)


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
        return [text for text in texts if left_out.isdisjoint(map(ord, text))]

    check.compare("generated", list(generated(rng, 200_000, left_out)))
    check.compare("long", ["".join(generated(rng, 2000, left_out)) for _ in range(20)])
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
