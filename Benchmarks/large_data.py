#!/usr/bin/env python3
"""Memory while a file larger than memory is read and trained from: large_data.py --size-mb 2000 [--model DIR] [--steps 3].

Writes conversations that are all different, reads them as a dataset and takes some steps. Says how large anonymous memory
(RssAnon) is before, at most while reading, after it, and at most in training. --limit-mb makes a larger growth an error.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bindings" / "python" / "src"))
import qwensft  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


def memory(field="RssAnon"):
    """In bytes."""
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"this system does not say {field}")


class Peak(threading.Thread):
    """The most anonymous memory while it runs."""

    def __enter__(self):
        self.most, self.is_over = memory(), threading.Event()
        self.start()
        return self

    def run(self):
        while not self.is_over.wait(0.02):
            self.most = max(self.most, memory())

    def __exit__(self, *error):
        self.is_over.set()
        self.join()
        self.most = max(self.most, memory())


def write(path, size):
    """Sums in words, about 500 bytes a line, no two of them equal; the number of lines."""
    count = written = 0
    with open(path, "w") as file:
        while written < size:
            steps = " ".join(f"Then we add {(count * 7 + i) % 97} and get {count + i}." for i in range(14))
            written += file.write(f'{{"question": "What comes after {count}?", "answer": "{steps} #### {count + 1}"}}\n')
            count += 1
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mb", type=int, default=2000)
    parser.add_argument("--model", default=ROOT / "Examples" / "tiny-qwen2")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--limit-mb", type=int)
    arguments = parser.parse_args()
    tok = qwensft.Tokenizer.from_pretrained(arguments.model)
    # What the first call of everything takes once.
    qwensft.Dataset(tok, [[{"role": "user", "content": "a"}]])
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        path = os.path.join(directory, "data.jsonl")
        rows = write(path, arguments.size_mb * 10**6)
        size = os.path.getsize(path) / 1e6
        print(f"{size:.0f} MB, {rows} conversations")
        before = memory()
        start = time.monotonic()
        with Peak() as peak:
            data = qwensft.Dataset(tok, path, label_policy="assistant", max_length=512)
        seconds = time.monotonic() - start
        after = memory()
    print(data.report)
    print(f"read in {seconds:.1f} s ({size / seconds:.1f} MB/s)")
    print(
        f"anonymous memory: {before / 1e6:.1f} MB before, at most {peak.most / 1e6:.1f} while reading, {after / 1e6:.1f} after;"
        f" {(after - before) / rows:.1f} bytes a conversation stay; mapped: {memory('RssFile') / 1e6:.0f} MB"
    )
    model = qwensft.Model.from_pretrained(arguments.model)
    trainer = qwensft.Trainer(model, qwensft.SGD(lr=1e-3))
    loaded = memory()
    with Peak() as training:
        run = qwensft.Run(trainer, data, batch_size=8)
        losses = [run.step().metrics.loss for _ in range(arguments.steps)]
    print(f"losses {losses}; at most {training.most / 1e6:.1f} MB in training, {loaded / 1e6:.1f} with the model loaded")
    growth = max(peak.most, after) - before
    if arguments.limit_mb and growth > arguments.limit_mb * 1e6:
        raise SystemExit(f"{growth / 1e6:.1f} MB more than before, expected at most {arguments.limit_mb}")


main()
