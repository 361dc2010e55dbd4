#!/usr/bin/env python3
"""Chat speed beside llama.cpp and PyTorch on one checkpoint.

    make bench-chat MODEL=DIR [DATA=gsm8k.jsonl] [ISA=avx2]
    chat.py BENCH_CHAT DIR [--rounds N] [--prompts 256,4096] [--without torch,...] [--loss DATA.jsonl]

Everything runs on the same threads, in processes of its own, one after another and several rounds of all, because a
machine's speed drifts: ratios are medians of the rounds' ratios. llama.cpp is compiled for this processor (its own word on
that is printed), gets GGUF files that are made here from the checkpoint with the `gguf` package (BF16, Q8_0) and its own quantizer
(Q4_K_M), and prompts and tokens of the same number. With --loss: what fewer bits cost, as the mean loss on 50 conversations.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import machine

NEW = 48


def repeats(count):
    """How often a prompt is measured in one process: short ones several times, whose median counts."""
    return 5 if count <= 512 else 1


def prompt_ids(count, vocabulary):
    import random
    source = random.Random(1)
    return [source.randrange(min(150_000, vocabulary)) for _ in range(count)]


# --- GGUF -------------------------------------------------------------------------------------------------------------

TENSORS = {
    "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def gguf_name(name):
    if name in OUTER:
        return OUTER[name]
    _, _, index, rest = name.split(".", 3)
    for theirs, ours in TENSORS.items():
        if rest.startswith(theirs):
            return f"blk.{index}." + ours + rest[len(theirs):]
    raise SystemExit(f"no GGUF name for {name}")


def write_gguf(directory, path, quantization):
    """A GGUF file of the checkpoint: matrices in BF16 or Q8_0, vectors in float32."""
    import glob
    import gguf
    import torch
    from safetensors import safe_open
    config = json.load(open(os.path.join(directory, "config.json")))
    tokenizer = json.load(open(os.path.join(directory, "tokenizer.json")))
    writer = gguf.GGUFWriter(path + ".new", "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base((config.get("rope_theta") or config["rope_parameters"]["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    size = config["vocab_size"]
    tokens, types = [f"[PAD{i}]" for i in range(size)], [gguf.TokenType.UNUSED] * size
    for token, index in tokenizer["model"]["vocab"].items():
        tokens[index], types[index] = token, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(next(a["id"] for a in tokenizer["added_tokens"] if a["content"] == "<|im_end|>"))
    kind = getattr(gguf.GGMLQuantizationType, quantization)
    for file in sorted(glob.glob(os.path.join(directory, "*.safetensors"))):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                values = tensors.get_tensor(name).to(torch.float32).numpy()
                if values.ndim == 1:
                    writer.add_tensor(gguf_name(name), values)
                else:
                    writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(path + ".new", path)


def quantize_gguf(source, path):
    import llama_cpp
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    if llama_cpp.llama_model_quantize(source.encode(), (path + ".new").encode(), parameters):
        raise SystemExit("llama.cpp could not quantize the checkpoint")
    os.rename(path + ".new", path)


# --- Peers: each prints one JSON object with `prefill` and `decode` in seconds ----------------------------------------

def measure_llama(path, count, threads):
    import llama_cpp
    from llama_cpp import Llama
    start = time.perf_counter()
    print(llama_cpp.llama_print_system_info().decode().strip(), file=sys.stderr)
    llm = Llama(path, n_ctx=count + NEW + 8, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
    opened = time.perf_counter() - start
    ids = prompt_ids(count, llm.n_vocab())
    llm.eval(ids[:8])  # weights into memory
    prompts, times = [], []
    for _ in range(repeats(count)):
        llm.reset()
        llm._ctx.kv_cache_clear()
        start = time.perf_counter()
        llm.eval(ids)
        prompts.append(time.perf_counter() - start)
    for i in range(NEW):
        start = time.perf_counter()
        llm.eval([ids[i % count]])
        times.append(time.perf_counter() - start)
    return {"open": opened, "prefill": statistics.median(prompts), "decode": statistics.median(times)}


def measure_torch(directory, count, threads):
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    start = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval()
    opened = time.perf_counter() - start
    ids = torch.tensor([prompt_ids(count, model.config.vocab_size)])
    prompts, times = [], []
    with torch.inference_mode():
        model(ids[:, :32])
        for _ in range(repeats(count)):
            start = time.perf_counter()
            out = model(ids, use_cache=True, logits_to_keep=1)
            prompts.append(time.perf_counter() - start)
        for i in range(min(NEW, 24)):
            start = time.perf_counter()
            out = model(ids[:, i % count].view(1, 1), past_key_values=out.past_key_values, use_cache=True)
            times.append(time.perf_counter() - start)
    return {"open": opened, "prefill": statistics.median(prompts), "decode": statistics.median(times)}


def run(command):
    """The last line's JSON with the median times of all lines but the first, and what was said; None if the command failed."""
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        print(done.stderr[-800:], file=sys.stderr)
        return None
    later = [json.loads(line) for line in lines[1:]]
    medians = {key: statistics.median(one[key] for one in later) for key in ("prefill", "decode") if later and key in later[0]}
    return {**json.loads(lines[-1]), **medians, "said": done.stderr.strip()}


# --- The table --------------------------------------------------------------------------------------------------------

def weights(directory, head):
    """Weights in the matrices that a token is multiplied with."""
    c = json.load(open(os.path.join(directory, "config.json")))
    h, i = c["hidden_size"], c["intermediate_size"]
    kv = c["num_key_value_heads"] * h // c["num_attention_heads"]
    return c["num_hidden_layers"] * (2 * h * h + 2 * h * kv + 3 * h * i) + head * c["vocab_size"] * h


def conversations(path, cache):
    """A file of conversations: as it is, or made of rows with a question and an answer."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(50))]
    if rows and "messages" not in rows[0]:
        rows = [{"messages": [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]}
                for row in rows]
    target = os.path.join(cache, "conversations.jsonl")
    with open(target, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return target


OURS = {"ours bf16": "bfloat16", "ours lossless": "lossless", "ours int8": "int8", "ours int6": "int6", "ours int4": "int4"}
# What a weight takes in memory; llama.cpp's Q8_0 has a float16 for every 32, and of Q4_K_M many weights have more than four bits.
BYTES = {"ours bf16": 2, "ours lossless": 1.5, "ours int8": 1.0625, "ours int6": 0.78125, "ours int4": 0.5625,
         "llama.cpp BF16": 2, "PyTorch bf16": 2, "llama.cpp Q8_0": 1.0625, "llama.cpp Q4_K_M": 0.8}
PAIRS = [("ours bf16", "llama.cpp BF16"), ("ours bf16", "PyTorch bf16"), ("ours lossless", "llama.cpp BF16"),
         ("ours lossless", "PyTorch bf16"), ("ours int8", "llama.cpp Q8_0"), ("ours int6", "llama.cpp Q8_0"),
         ("ours int4", "llama.cpp Q4_K_M"), ("ours lossless", "ours bf16"), ("ours int6", "ours int8"), ("ours int4", "ours int6")]


def report(results, count, directory):
    """One table and the ratios for prompts of `count` tokens."""
    def median(label, key):
        values = [r[key] for r in results.get((count, label), []) if r and key in r]
        return statistics.median(values) if values else None

    print("| | prefill tok/s | of the bf16 limit | decode tok/s | of the bandwidth | open s | peak MB |")
    print("|---|---|---|---|---|---|---|")
    measured = median("ours bf16", "limit")
    limit = measured and max(measured, machine.fma_rate(len(os.sched_getaffinity(0))))
    bandwidths = [r["bandwidth"] for (_, _), rs in results.items() for r in rs if r and "bandwidth" in r]
    for label in BYTES:
        prefill, decode = median(label, "prefill"), median(label, "decode")
        if not prefill or not decode:
            continue
        work = 2 * weights(directory, head=False) * count  # the head only sees the last row
        part = f"{work / prefill / limit:.0%}" if limit else "-"
        # A machine's bandwidth drifts too: ours from each process's own measurement.
        read, own = weights(directory, head=True) * BYTES[label], results[(count, label)]
        shares = [read / r["decode"] / r.get("bandwidth", statistics.median(bandwidths or [1e99])) for r in own if r]
        peak = median(label, "peak_kib")
        print(f"| {label} | {count / prefill:.0f} | {part} | {1 / decode:.1f} | {statistics.median(shares):.0%} "
              f"| {median(label, 'open'):.2f} | {peak * 1.024e-3:.0f} |" if peak else
              f"| {label} | {count / prefill:.0f} | {part} | {1 / decode:.1f} | {statistics.median(shares):.0%} "
              f"| {median(label, 'open'):.2f} | - |")
    if limit and bandwidths:
        print(f"\nlimits in these runs: {limit / 1e9:.0f} GFLOP/s, {min(bandwidths) / 1e9:.0f} to {max(bandwidths) / 1e9:.0f} GB/s")
    for mine, theirs in PAIRS:
        for key in ("prefill", "decode"):
            rounds = zip(results.get((count, mine), []), results.get((count, theirs), []))
            ratios = [b[key] / a[key] for a, b in rounds if a and b]
            if ratios:
                print(f"{key}: {mine} is {statistics.median(ratios):.2f} x {theirs} ({min(ratios):.2f} to {max(ratios):.2f})")


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "--measure":
        what, path, count, threads = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
        print(json.dumps((measure_llama if what == "llama" else measure_torch)(path, count, threads)))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", default="256,4096")
    parser.add_argument("--without", default="")
    parser.add_argument("--loss")
    parser.add_argument("--opens", type=int, default=10, help="processes that open the checkpoint; 0: none")
    parser.add_argument("--turns", type=int, default=3072, help="tokens of a first turn before a short second one; 0: none")
    parser.add_argument("--cache", default="build/bench-chat")
    options = parser.parse_args()
    os.makedirs(options.cache, exist_ok=True)
    if options.loss:
        data = conversations(options.loss, options.cache)
        print("| mean loss on 50 conversations | | beside bfloat16 |\n|---|---|---|")
        reference = None
        for dtype in ("bfloat16", "lossless", "int8", "int6", "int4"):
            loss = (run([options.bench, options.model, "--dtype", dtype, "--loss", data]) or {"loss": float("nan")})["loss"]
            reference = reference or loss
            print(f"| {dtype} | {loss:.5f} | {loss / reference - 1:+.3%} |", flush=True)
    if options.opens:
        print("| opening | s, median of %d processes | lowest to highest | touching as much new memory, s |\n|---|---|---|---|" % options.opens)
        for form in OURS.values():
            done = [r for r in (run([options.bench, options.model, "--dtype", form, "--open"]) for _ in range(options.opens)) if r]
            opened = [r["open"] for r in done]
            print(f"| {form} | {statistics.median(opened):.2f} | {min(opened):.2f} to {max(opened):.2f} "
                  f"| {statistics.median(r['touch'] for r in done):.2f} |", flush=True)
    if options.turns:
        print("\n| to the first token of turn 2, s | tokens | of them computed | in the session | all computed anew |\n|---|---|---|---|---|")
        for form in OURS.values():
            done = run([options.bench, options.model, "--dtype", form, "--turn", "--prompt", str(options.turns), "--runs", "3"])
            if done:
                print(f"| {form} | {done['tokens']} | {done['computed']} | {done['turn2']:.3f} | {done['fresh']:.2f} |", flush=True)
    threads = len(os.sched_getaffinity(0))
    without = [word for word in options.without.lower().split(",") if word]
    name = os.path.basename(os.path.abspath(options.model))
    files = {}
    for kind in ("BF16", "Q8_0", "Q4_K_M"):
        files[kind] = os.path.join(options.cache, f"{name}-{kind}.gguf")
        if "llama" in without or os.path.exists(files[kind]):
            continue
        if kind == "Q4_K_M":
            quantize_gguf(files["BF16"], files[kind])
        else:
            write_gguf(options.model, files[kind], kind)

    def command(label, count):
        if label in OURS:
            return [options.bench, options.model, "--dtype", OURS[label], "--prompt", str(count), "--new", str(NEW),
                    "--runs", str(repeats(count) + 1)]
        what, path = ("torch", options.model) if "PyTorch" in label else ("llama", files[label.split()[-1]])
        return [sys.executable, os.path.abspath(__file__), "--measure", what, path, str(count), str(threads)]

    results, system = {}, ""
    for count in map(int, options.prompts.split(",") if options.prompts else []):
        for round in range(options.rounds):
            for label in BYTES:
                if any(word in label.lower() for word in without):
                    continue
                result = run(command(label, count))
                said = result.pop("said") if result else ""
                system = said if "llama" in label and said else system
                print(f"round {round + 1}  {count:5} tokens  {label:15} {result}", file=sys.stderr, flush=True)
                results.setdefault((count, label), []).append(result)
        print(f"\n{count} tokens of prompt, {threads} threads, {options.rounds} rounds\n")
        report(results, count, options.model)
    if system:
        print(f"\nllama.cpp: {system}")


if __name__ == "__main__":
    main()
