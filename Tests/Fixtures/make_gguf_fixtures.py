#!/usr/bin/env python3
"""Makes checkpoints with a tokenizer, what llama.cpp's converter makes of them, and blocks of every format that is read.

    pip install gguf==0.19.0 torch==2.15.0 transformers==5.24.0 sentencepiece safetensors numpy
    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36        # holds llama.cpp in vendor/; unpack it
    python3 make_gguf_fixtures.py LLAMA_CPP_DIRECTORY                        # rewrites gguf/ beside this script

gguf/NAME/checkpoint    a random checkpoint with the tokenizer of Examples/tiny-qwen2
gguf/NAME/converter.json  of the converter's files: their keys, and for each type that of the file and type, shape and SHA-256 of
                        every tensor
gguf/NAME/q8_0.gguf     the converter's file itself
gguf/blocks.gguf        random blocks of every quantized format, and as float32 what the gguf package makes of them

The converter knows the tokenizers of published models by their ids; that of the tiny model is not among them, and is said to be
"qwen2", which it is but for its vocabulary.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

ROOT = os.path.dirname(os.path.abspath(__file__))
HERE = os.path.join(ROOT, "gguf")
TINY = os.path.join(ROOT, "..", "..", "Examples", "tiny-qwen2")
TYPES = ["f32", "f16", "bf16", "q8_0"]
VOCABULARY, HIDDEN, HEADS, KV, WIDTH, INNER, LAYERS = 704, 32, 2, 1, 16, 64, 2

COMMON = dict(
    hidden_act="silu", hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
    num_key_value_heads=KV, max_position_embeddings=256, rms_norm_eps=1e-6, vocab_size=VOCABULARY, bos_token_id=700,
    eos_token_id=702, torch_dtype="float32",
)
CASES = {
    "qwen2-tied": dict(
        COMMON, architectures=["Qwen2ForCausalLM"], model_type="qwen2", rope_theta=10000.0, tie_word_embeddings=True),
    "qwen3-untied-yarn": dict(
        COMMON, architectures=["Qwen3ForCausalLM"], model_type="qwen3", rope_theta=1000000.0, tie_word_embeddings=False,
        head_dim=WIDTH, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)),
}
GENERATION = {
    "qwen2-tied": dict(bos_token_id=700, pad_token_id=700, eos_token_id=[702, 700], do_sample=False, repetition_penalty=1.0),
    "qwen3-untied-yarn": dict(
        bos_token_id=700, pad_token_id=700, eos_token_id=[702, 700], do_sample=True, temperature=0.6, top_k=20, top_p=0.95),
}


def weights(config, random):
    """Every parameter, with rows of zeros, of small and of tiny numbers (whose scales are subnormal and 0)."""
    def values(*shape):
        array = (random.standard_normal(shape) * 0.1).astype(np.float32)
        if len(shape) == 2:
            array[0] = 0
            array[1] *= np.float32(1e-3)
            array[2] *= np.float32(1e-6)
        return array

    result = {"model.embed_tokens.weight": values(VOCABULARY, HIDDEN), "model.norm.weight": values(HIDDEN) + 1}
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        for norm in ["input_layernorm", "post_attention_layernorm"]:
            result[p + norm + ".weight"] = values(HIDDEN) + 1
        for name, outputs in [("q", HEADS * WIDTH), ("k", KV * WIDTH), ("v", KV * WIDTH)]:
            result[f"{p}self_attn.{name}_proj.weight"] = values(outputs, HIDDEN)
            if config["model_type"] == "qwen2":
                result[f"{p}self_attn.{name}_proj.bias"] = values(outputs)
            elif name != "v":
                result[f"{p}self_attn.{name}_norm.weight"] = values(WIDTH) + 1
        result[p + "self_attn.o_proj.weight"] = values(HIDDEN, HEADS * WIDTH)
        for name, shape in [("gate", (INNER, HIDDEN)), ("up", (INNER, HIDDEN)), ("down", (HIDDEN, INNER))]:
            result[f"{p}mlp.{name}_proj.weight"] = values(*shape)
    if not config["tie_word_embeddings"]:
        result["lm_head.weight"] = values(VOCABULARY, HIDDEN)
    return result


CONVERTER = """
import runpy, sys
root = sys.argv[1]
sys.path[:0] = [root, root + "/gguf-py"]
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = [root + "/convert_hf_to_gguf.py", *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def description(path):
    reader = gguf.GGUFReader(path)
    keys = {
        name: [[kind.name for kind in field.types], field.contents()]
        for name, field in reader.fields.items() if not name.startswith("GGUF.")
    }
    tensors = {
        t.name: [t.tensor_type.name, [int(n) for n in reversed(t.shape)], hashlib.sha256(t.data.tobytes()).hexdigest()]
        for t in reader.tensors
    }
    return keys, dict(file_type=keys.pop("general.file_type"), tensors=tensors)


def make_checkpoint(name, llama):
    random = np.random.default_rng(sum(map(ord, name)))
    place = os.path.join(HERE, name)
    directory = os.path.join(place, "checkpoint")
    os.makedirs(directory)
    for file in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(os.path.join(TINY, file), directory)
    for file, content in [("config.json", CASES[name]), ("generation_config.json", GENERATION[name])]:
        with open(os.path.join(directory, file), "w") as out:
            json.dump(content, out, indent=1)
    save_file(weights(CASES[name], random), os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})
    result = {}
    for kind in TYPES:
        path = os.path.join(place, f"{kind}.gguf")
        subprocess.run(
            [sys.executable, "-c", CONVERTER, llama, directory, "--outtype", kind, "--outfile", path, "--model-name", name],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result["keys"], result[kind] = description(path)
        if kind != "q8_0":
            os.remove(path)
    with open(os.path.join(place, "converter.json"), "w") as out:
        json.dump(result, out, ensure_ascii=False, separators=(",", ":"))


def make_blocks():
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(os.path.join(HERE, "blocks.gguf"), "qwen2")
    types = gguf.GGMLQuantizationType
    for kind in [types.Q8_0, types.Q4_0, types.Q4_1, types.Q5_0, types.Q5_1, types.Q4_K, types.Q5_K, types.Q6_K]:
        size, width = gguf.GGML_QUANT_SIZES[kind]
        per_row = 512 // size
        blocks = random.integers(0, 256, (2 * per_row, width), dtype=np.uint8)
        # Float16 scales: ordinary, negative, subnormal, zero.
        scales = {types.Q6_K: [208], types.Q4_1: [0, 2], types.Q5_1: [0, 2], types.Q4_K: [0, 2], types.Q5_K: [0, 2]}.get(kind, [0])
        for place in scales:
            values = (random.standard_normal(len(blocks)) * 0.01).astype(np.float16)
            values[1], values[2] = np.float16(3e-7), np.float16(0)
            blocks[:, place:place + 2] = values.view(np.uint8).reshape(-1, 2)
        data = blocks.reshape(2, -1)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        writer.add_tensor(kind.name + ".values", gguf.quants.dequantize(data, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    make_blocks()
    for case in CASES:
        make_checkpoint(case, os.path.abspath(sys.argv[1]))
