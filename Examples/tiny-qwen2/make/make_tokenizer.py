#!/usr/bin/env python3
"""Trains the tiny model's byte-level BPE tokenizer; writes tokenizer.json and tokenizer_config.json into the folder above.

    pip install tokenizers==0.23.3
    python3 make_tokenizer.py

The stages are Qwen2's own: NFC, its split pattern, bytes, merges; only the vocabulary is smaller. The chat
template is Qwen2-Instruct's (Apache-2.0), word for word, because it is by its text that programs know it.
"""
import json
import os

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import make_data

TARGET = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REGULAR = 700
ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])

    # Segment by segment, as preprocess tokenizes; the roles and the newline are words too.
    texts = [m[key] for messages in make_data.conversations(10_000) for m in messages for key in ("role", "content")]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=REGULAR, min_frequency=2, max_token_length=12, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    regular = tokenizer.get_vocab_size(with_added_tokens=False)

    entry = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    added = {regular + i: {"content": token, **entry} for i, token in enumerate(ADDED)}
    whole = json.loads(tokenizer.to_str())
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    whole |= {"post_processor": byte_level, "decoder": byte_level}
    # As the files of Qwen2 have it, which every reader knows.
    whole["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": "",
                       "merges": [" ".join(pair) for pair in whole["model"]["merges"]]}
    whole["added_tokens"] = [{"id": i, **token} for i, token in added.items()]
    config = {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {str(i): token for i, token in added.items()},
        "additional_special_tokens": ADDED[1:], "bos_token": None, "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
        "model_max_length": 2048, "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}
    for name, value in (("tokenizer.json", whole), ("tokenizer_config.json", config)):
        with open(os.path.join(TARGET, name), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False, indent=2)
            f.write("\n")
    print(f"{regular} regular tokens, {len(ADDED)} added")


if __name__ == "__main__":
    main()
