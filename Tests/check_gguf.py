#!/usr/bin/env python3
"""Exports a real checkpoint as GGUF and compares llama.cpp's answers with this library's.

    pip install llama-cpp-python==0.3.36 numpy          # compiles llama.cpp
    PYTHONPATH=bindings/python/src python3 Tests/check_gguf.py DIR [--prompts 20] [--tokens 32] [--types f32,bf16,f16,q8_0]

float32: ids, and where an answer ends, are equal, without and with adapters (plain, rsLoRA, ranks and alphas of their own). In the
other types llama.cpp rounds activations as well, so that only how far answers agree is shown. Every file that is opened here and
written again is the same.
"""
import argparse
import filecmp
import os
import tempfile
import time

import llama_cpp
import numpy as np
import qwensft

PROMPTS = [
    "2+2等于几", "Who are you?", "Write a haiku about rain.", "用一句话解释什么是引力。", "List three prime numbers above 10.",
    "def fib(n):", "Translate to German: The cat sleeps.", "What is the capital of Peru?", "写一首关于秋天的短诗。",
    "Sort these: 3, 1, 2.", "What does `ls -la` do?", "Say hello in five languages.", "Is 91 a prime number?",
    "Erkläre kurz, was ein Compiler macht.", "SELECT the newest row of a table in SQL.", "Why is the sky blue?",
    "Give me a regex for a date like 2024-01-31.", "What comes after Wednesday?", "2的10次方是多少？", "Answer with one word: yes or no?",
]


def ours(model, tokenizer, ids, tokens):
    stop = [tokenizer.encode("<|im_end|>")[0]]
    (answer,) = model.generations(ids, do_sample=False, repetition_penalty=1.0, max_new_tokens=tokens, stop_ids=stop)
    return answer.ids


class LlamaCpp:
    def __init__(self, path, context, adapter=None):
        self.llama = llama_cpp.Llama(
            str(path), n_ctx=context, n_batch=context, verbose=False, type_k=0, type_v=0, flash_attn=False,
            lora_path=str(adapter) if adapter else None)

    def answer(self, ids, tokens):
        """Greedy; the id that ends the answer included."""
        result = []
        self.llama.reset()
        for token in self.llama.generate(ids, top_k=1, temp=0.0, repeat_penalty=1.0):
            result.append(token)
            if llama_cpp.llama_vocab_is_eog(self.llama._model.vocab, token) or len(result) == tokens:
                return result


def compare(title, theirs, model, tokenizer, prompts, tokens):
    equal, alike, ended = 0, [], 0
    for prompt in prompts:
        question = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
        ids = list(tokenizer.apply_chat_template(question, tokenize=True, add_generation_prompt=True))
        assert theirs.llama.tokenize(text.encode(), add_bos=True, special=True) == ids, prompt
        a, b = ours(model, tokenizer, ids, tokens), theirs.answer(ids, tokens)
        same = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        equal += a == b
        ended += a == b and len(a) < tokens
        alike.append(same / max(len(a), len(b)))
    print(f"{title}: {equal} of {len(prompts)} answers equal ({ended} of them ended by a stop id), "
          f"{100 * np.mean(alike):.0f} % of tokens before a difference", flush=True)
    return equal == len(prompts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--types", default="f32,bf16,f16,q8_0")
    options = parser.parse_args()
    prompts, tokens, good = PROMPTS[:options.prompts], options.tokens, True
    base = qwensft.Model.from_pretrained(options.directory)
    tokenizer = qwensft.Tokenizer.from_pretrained(options.directory)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as place:
        for kind in options.types.split(","):
            path, again = f"{place}/{kind}.gguf", f"{place}/again.gguf"
            began = time.monotonic()
            base.save_gguf(path, dtype=kind)
            print(f"{kind}: {os.path.getsize(path) / 1e6:.0f} MB written in {time.monotonic() - began:.1f} s", flush=True)
            model = qwensft.Model.from_pretrained(path)
            model.save_gguf(again)
            same = filecmp.cmp(path, again, shallow=False)
            os.remove(again)
            print(f"{kind}: opened and written again, {'the same bytes' if same else 'OTHER BYTES'}", flush=True)
            good &= same
            theirs = LlamaCpp(path, 512)
            equal = compare(kind, theirs, model, tokenizer, prompts if kind == "f32" else prompts[:5], tokens)
            good &= equal or kind != "f32"
            del theirs, model
            if kind != "f32":
                os.remove(path)
                continue
            for name, config in {
                "adapter": dict(r=8, lora_alpha=16),
                "adapter, rsLoRA": dict(r=16, lora_alpha=4, use_rslora=True),
                "adapter, other ranks": dict(
                    r=8, lora_alpha=8, rank_pattern={"q_proj": 4, "down_proj": 2}, alpha_pattern={"v_proj": 24, "up_proj": 1}),
            }.items():
                base.add_adapter(qwensft.LoraConfig(seed=len(name), **config), name)
                trainer = qwensft.Trainer(base, optimizer=qwensft.AdamW(lr=2e-3))
                batch = qwensft.preprocess(
                    tokenizer, [[{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am Bob."}]])
                for _ in range(4):
                    trainer.step(batch)
                trainer.close()
                base.save_adapter_gguf(f"{place}/adapter.gguf", name)
                theirs = LlamaCpp(path, 512, f"{place}/adapter.gguf")
                good &= compare(name, theirs, base, tokenizer, prompts[:6], tokens)
                del theirs
                base.delete_adapter(name)
            os.remove(path)
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
