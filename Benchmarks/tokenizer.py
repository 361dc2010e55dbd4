#!/usr/bin/env python3
"""Speed of text to ids beside other tokenizers, in one run.

    make bench-tokenizer [TOKENIZER=DIR] [DATA="FILE ..."] [ISA=avx2]     # or: tokenizer.py PROGRAM [--tokenizer DIR] [--data FILE ...]

PROGRAM is Benchmarks/Tokenizer built; DIR holds a tokenizer.json, without it is Qwen2's of the tests. The text, in documents of 4,000 characters:

- languages: Django's translations into 99 languages and chatterbot-corpus's dialogues in 28;
- code: Python's standard library, as much of it;
- data: the files given, if any (lines of JSON: their strings).

Documents are shuffled (seeded) and cut into two halves. Each contender, in a process and on a processor of its own, with one
thread, loads the tokenizer (`load`), encodes the first half (`cold`: it has seen nothing), then the second (`warm`: it has seen
the first half, none of these documents), then the second once more (`again`: it has seen every word). Contenders take turns;
rates are medians over the rounds, in 10^6 bytes of UTF-8 a second. The last column counts documents whose ids are not those
of Hugging Face `tokenizers`.
"""
import argparse
import ast
import glob
import json
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import sysconfig
import time

import machine

DOCUMENT = 4000  # characters


# --- Text -------------------------------------------------------------------------------------------------------------

def translations():
    """A text for each language that Django speaks."""
    import django
    texts = {}
    for path in sorted(glob.glob(f"{os.path.dirname(django.__file__)}/**/locale/*/LC_MESSAGES/*.po", recursive=True)):
        with open(path, encoding="utf-8") as file:
            for match in re.finditer(r'^msgstr(?:\[\d\])? ((?:"(?:[^"\\]|\\.)*"\s*)+)', file.read(), re.M):
                text = ast.literal_eval(f"({match[1]})")
                texts.setdefault(path.split("/")[-3], []).append(text)
    return ["\n".join(lines) for lines in texts.values()]


def dialogues():
    """A text for each language of chatterbot-corpus."""
    import chatterbot_corpus
    data = os.path.join(os.path.dirname(chatterbot_corpus.__file__), "data")
    for language in sorted(os.listdir(data)):
        lines = []
        for path in sorted(glob.glob(f"{data}/{language}/*.yml")):
            with open(path, encoding="utf-8") as file:
                lines += [re.sub(r"^[\s-]*- ", "", line) for line in file]
        yield "".join(lines)


def code(size):
    """So many bytes of Python's standard library, some of each file."""
    paths = sorted(glob.glob(f"{sysconfig.get_path('stdlib')}/**/*.py", recursive=True))
    paths = [path for path in paths if "site-packages" not in path and "/test" not in path]
    random.Random(2).shuffle(paths)
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(20 * DOCUMENT)
        yield text
        size -= len(text)
        if size < 0:
            return


def given(paths):
    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, dict)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from strings(item)

    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if path.endswith((".json", ".jsonl")):
            values = map(json.loads, text.splitlines()) if path.endswith("l") else json.loads(text)
            text = "\n".join(strings(list(values)))
        yield text


def documents(texts):
    found = [text[i:i + DOCUMENT] for text in texts for i in range(0, len(text) - DOCUMENT // 2, DOCUMENT)]
    random.Random(1).shuffle(found)
    return found[:len(found) // 2 * 2]


def write_tokenizer(directory):
    """A tokenizer.json of the vocabulary that the tests have as vocab.json and merges.txt."""
    fixtures = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "Fixtures")
    sys.path.insert(0, fixtures)
    from make_tokenizer_fixtures import oracle
    tokenizer = oracle()
    os.makedirs(directory, exist_ok=True)
    tokenizer.save(os.path.join(directory, "tokenizer.json"))


def write(path, texts):
    with open(path, "wb") as file:
        for text in texts:
            data = text.encode()
            file.write(struct.pack("<I", len(data)) + data)


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    texts, p = [], 0
    while p < len(data):
        size, = struct.unpack_from("<I", data, p)
        texts.append(data[p + 4:p + 4 + size].decode())
        p += 4 + size
    return texts


# --- Contenders: how each loads and encodes through its own Python interface ------------------------------------------------

def load_tokenizers(directory):
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def load_tiktoken(directory):
    import tiktoken
    with open(os.path.join(directory, "tokenizer.json"), encoding="utf-8") as file:
        data = json.load(file)
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(b): b for b in visible}
    alphabet.update((chr(0x100 + i), b) for i, b in enumerate(b for b in range(256) if b not in visible))
    ranks = {bytes(alphabet[c] for c in token): id for token, id in data["model"]["vocab"].items()}
    pattern = data["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    special = {token["content"]: token["id"] for token in data["added_tokens"]}
    encoding = tiktoken.Encoding("qwen2", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    return lambda text: encoding.encode(text, allowed_special="all")


def load_kitoken(directory):
    import kitoken
    tokenizer = kitoken.Kitoken.from_tokenizers_file(os.path.join(directory, "tokenizer.json"))
    return lambda text: tokenizer.encode(text, True)


def load_fastokens(directory):
    import fastokens
    tokenizer = fastokens.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    return tokenizer.encode


def load_gigatoken(directory):
    import gigatoken
    return gigatoken.Tokenizer(os.path.join(directory, "tokenizer.json")).encode


def load_qwensft(directory):
    import qwensft
    return qwensft.Tokenizer.from_pretrained(directory).encode


def load_arrays(directory):
    import qwensft
    tokenizer = qwensft.Tokenizer.from_pretrained(directory)
    return lambda text: tokenizer.encode(text, as_array=True)


# Many documents at once, as arrays and without padding.

def batches_fastokens(directory):
    import fastokens
    return fastokens.Tokenizer.from_file(os.path.join(directory, "tokenizer.json")).encode_batch_flat


def batches_gigatoken(directory):
    import gigatoken
    return gigatoken.Tokenizer(os.path.join(directory, "tokenizer.json")).encode_batch


def batches_qwensft(directory):
    import qwensft
    tokenizer = qwensft.Tokenizer.from_pretrained(directory)
    return lambda texts: tokenizer(texts, as_arrays=True)["input_ids"]


BATCHERS = {name[8:]: function for name, function in globals().items() if name.startswith("batches_")}
LOADERS = {name[5:]: function for name, function in globals().items() if name.startswith("load_")}


def measure(contender, directory, path):
    """What the process of one contender does."""
    texts = read(path)
    half = len(texts) // 2
    LOADERS[contender](directory)("a")  # imports and what is set up once in a process
    start = time.perf_counter()
    encode = LOADERS[contender](directory)
    times = {"load": time.perf_counter() - start}
    for name, part in [("cold", texts[:half]), ("warm", texts[half:]), ("again", texts[half:])]:
        start = time.perf_counter()
        for text in part:
            encode(text)
        times[name] = time.perf_counter() - start
    return times


def measure_batches(contender, directory, path):
    """Seconds for all documents, 64 at a time; the first round, which fills caches, is not counted."""
    texts = read(path)
    encode = BATCHERS[contender](directory)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        for i in range(0, len(texts), 64):
            encode(texts[i:i + 64])
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def ids(contender, directory, path):
    encode = LOADERS[contender](directory)
    return [list(map(int, getattr(encoded, "ids", encoded))) for encoded in map(encode, read(path))]


# --- The run ----------------------------------------------------------------------------------------------------------

def run(command, processors="0"):
    """A contender's process, on one processor unless told otherwise; None if it fails."""
    environment = dict(os.environ, RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    if "," in processors:
        environment = dict(os.environ)
    done = subprocess.run(["taskset", "-c", processors, *command], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        print(f"{command}: {done.stderr[-600:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def batch_row(label, size, pairs):
    """Of pairs of seconds, on one thread and on two."""
    one, two = (size / statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    return f"| {label} | {one:.0f} | {two:.0f} | {statistics.median(pair[0] / pair[1] for pair in pairs):.2f} |"


def main():
    machine.limit_isa()
    modes = {"--measure": measure, "--batches": measure_batches, "--ids": ids}
    if len(sys.argv) > 1 and sys.argv[1] in modes:
        print(json.dumps(modes[sys.argv[1]](*sys.argv[2:5])))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--tokenizer")
    parser.add_argument("--data", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="contenders, separated by commas")
    parser.add_argument("--cache", default=".build/bench-tokenizer")
    options = parser.parse_args()
    os.makedirs(options.cache, exist_ok=True)
    directory = options.tokenizer or os.path.join(options.cache, "qwen2")
    if not options.tokenizer:
        write_tokenizer(directory)

    texts = {"languages": documents([*translations(), *dialogues()])}
    texts["code"] = documents(code(sum(map(len, texts["languages"]))))
    if options.data:
        texts["data"] = documents(given(options.data))
    files = {name: os.path.join(options.cache, f"{name}.documents") for name in texts}
    for name, path in files.items():
        write(path, texts[name])

    names = {"arrays": "this library, Python (arrays)", "qwensft": "this library, Python (lists)"}
    names.update({name: name for name in LOADERS if name not in names})
    contenders = {"C": "this library, C", **names}
    if options.only:
        contenders = {key: contenders[key] for key in options.only.split(",")}

    def command(contender, file):
        if contender == "C":
            return [options.program, directory, "documents", file]
        return [sys.executable, os.path.abspath(__file__), "--measure", contender, directory, file]

    results = {}
    for round in range(options.rounds):
        for text, file in files.items():
            for contender in contenders:
                result = run(command(contender, file))
                if result:
                    results.setdefault((text, contender), []).append(result)

    def median(text, contender, key):
        return statistics.median(result[key] for result in results[text, contender])

    for text, file in files.items():
        halves = [sum(len(t.encode()) for t in part) / 1e6 for part in
                  (texts[text][:len(texts[text]) // 2], texts[text][len(texts[text]) // 2:])]
        expected = run([sys.executable, os.path.abspath(__file__), "--ids", "tokenizers", directory, file])
        print(f"\n{text}: {len(texts[text])} documents, {sum(halves):.1f} MB; MB/s on one thread\n")
        print("| | load, s | cold | warm | again | documents with other ids |\n|---|---|---|---|---|---|")
        for contender, label in contenders.items():
            if (text, contender) not in results:
                continue
            rates = [size / median(text, contender, key) for size, key in
                     [(halves[0], "cold"), (halves[1], "warm"), (halves[1], "again")]]
            other = ""
            if contender != "C":
                found = run([sys.executable, os.path.abspath(__file__), "--ids", contender, directory, file])
                other = sum(a != b for a, b in zip(expected, found)) if expected and found else "?"
            columns = [f"{median(text, contender, 'load'):.3f}", *(f"{rate:.0f}" if rate > 20 else f"{rate:.1f}" for rate in rates)]
            print("| " + " | ".join([label, *columns, str(other)]) + " |", flush=True)
        if "C" in contenders:
            print(f"\nids to text, C: {sum(halves) / median(text, 'C', 'decode'):.0f} MB/s")
            print("\n| 64 documents at a time, words seen before; MB/s | one thread | two | times |\n|---|---|---|---|")
            rows = {"this library, C: sft_encode_batch": "batch", "this library, C: sft_tokenizer_encode_texts": "texts"}
            for label, mode in rows.items():
                pairs = run([options.program, directory, mode, file], "0,1")["threads"]
                print(batch_row(label, sum(halves), pairs))
            turns = {name: [] for name in BATCHERS if name == "qwensft" or name in contenders}
            for _ in range(options.rounds):
                for name, pairs in turns.items():
                    command = [sys.executable, os.path.abspath(__file__), "--batches", name, directory, file]
                    found = [run(command, "0"), run(command, "0,1")]
                    if all(found):
                        pairs.append([statistics.median(seconds) for seconds in found])
            for name, pairs in turns.items():
                if pairs:
                    print(batch_row("this library, Python (arrays)" if name == "qwensft" else name, sum(halves), pairs))

    if "C" in contenders:
        print("\nHard texts, C, a tokenizer that has seen nothing\n\n| | 1 MB, MB/s | 10 MB, MB/s | time, 10 MB to 1 MB |\n|---|---|---|---|")
        for name, pairs in run([options.program, directory, "worst"]).items():
            small, large = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
            print(f"| {name} | {1 / small:.0f} | {10 / large:.0f} | {large / small:.1f} |")


if __name__ == "__main__":
    main()
