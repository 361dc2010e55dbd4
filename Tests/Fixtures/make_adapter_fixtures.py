#!/usr/bin/env python3
"""Makes LoRA adapters on the tiny checkpoints of models/ with peft, and what peft computes with them.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2 safetensors numpy
    python3 make_adapter_fixtures.py            # rewrites adapters/ beside this script

Each directory holds what peft's save_pretrained writes (with random A, B and rows of tokens), and
    expected.json         the base, a batch, its loss, and the losses of 20 steps of AdamW from there (float32), and of peft's
                          LoRA+ optimizer
    expected.safetensors  logits, and the gradients of A, B and rows under the names they have in adapter_model.safetensors
"""
import json
import os
import shutil

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ROOT = os.path.dirname(os.path.abspath(__file__))
HERE = os.path.join(ROOT, "adapters")
STEPS, LR, RATIO = 20, 0.01, 4.0

CASES = {
    "all-linear": ("tied-f32", dict(r=4, lora_alpha=6, target_modules="all-linear"), {}),
    "rslora": ("untied-bf16", dict(r=4, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "v_proj", "mlp.up_proj"]), {}),
    "patterns": ("tied-f32", dict(r=4, lora_alpha=6, target_modules="all-linear",
                                  rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 6, r"layers\.0\..*(gate|up)_proj": 3},
                                  alpha_pattern={"v_proj": 12, "1.self_attn.q_proj": 5}), {}),
    "regex": ("untied-bf16", dict(r=3, lora_alpha=8, use_rslora=True, alpha_pattern={"o_proj": 2},
                                  target_modules=r"(?:.*\.)?layers\.\d+\.(?:self_attn\.(?!k_)[a-z]_proj|mlp\.d.*)"), {}),
    "layers-bf16": ("tied-f32", dict(r=4, lora_alpha=4, layers_to_transform=[1], target_modules=["k_proj", "gate_proj", "down_proj"]),
                    dict(dtype=torch.bfloat16)),
    "qwen3": ("qwen3-tied-f32", dict(r=4, lora_alpha=8, target_modules="all-linear"), {}),
    "qwen3-untied": ("qwen3-untied-bf16", dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "o_proj", "up_proj"]), {}),
    "named": ("tied-f32", dict(r=2, lora_alpha=2), dict(name="second")),  # peft's default modules, in a sub-directory
    "tokens": ("tied-f32", dict(r=4, lora_alpha=4, target_modules="all-linear", trainable_token_indices=[7, 3, 130]), {}),
    # Their gradient has to reach the input, although the adapted layers end above it.
    "tokens-input": ("untied-bf16", dict(r=2, lora_alpha=4, target_modules=["q_proj"], layers_to_transform=[1],
                                         trainable_token_indices=[96, 0]), {}),
    "tokens-output": ("untied-bf16", dict(r=2, lora_alpha=4, target_modules=["v_proj"],
                                          trainable_token_indices={"embed_tokens": [5, 2], "lm_head": [2, 90, 64]}), {}),
    "tokens-apart": ("tied-f32", dict(r=2, lora_alpha=4, target_modules=["o_proj"],
                                      trainable_token_indices={"model.embed_tokens": [5, 2], "lm_head": [2, 90]}), {}),
    "tokens-qwen3": ("qwen3-tied-f32", dict(r=4, lora_alpha=8, target_modules="all-linear",
                                            trainable_token_indices={"embed_tokens": [1, 64, 2], "lm_head": [1, 64, 2]}), {}),
    "tokens-qwen3-untied": ("qwen3-untied-bf16", dict(r=2, lora_alpha=4, use_rslora=True, target_modules=["down_proj"],
                                                      trainable_token_indices={"lm_head": [4]}), dict(dtype=torch.bfloat16)),
}


def train(model, optimizer, batch):
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def make(name, base, options, how):
    torch.manual_seed(sum(map(ord, name)))
    directory = os.path.join(HERE, name)
    adapter = how.get("name", "default")
    model = AutoModelForCausalLM.from_pretrained(os.path.join(ROOT, "models", base), dtype=torch.float32,
                                                 attn_implementation="eager")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options), adapter_name=adapter)
    dtype = how.get("dtype", torch.float32)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            with torch.no_grad():
                if "lora_B" in key:
                    parameter.normal_(0, 0.1)
                if "trainable_tokens" in key:
                    parameter.add_(torch.randn_like(parameter) * 0.3 * parameter.std())
                parameter.copy_(parameter.to(dtype).to(torch.float32))
    model.save_pretrained(directory)
    place = directory if adapter == "default" else os.path.join(directory, adapter)
    if os.path.exists(os.path.join(directory, "README.md")):
        os.remove(os.path.join(directory, "README.md"))
    if os.path.exists(os.path.join(place, "README.md")):
        os.remove(os.path.join(place, "README.md"))
    path = os.path.join(place, "adapter_model.safetensors")
    if dtype != torch.float32:
        save_file({k: v.to(dtype) for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.load(open(os.path.join(place, "adapter_config.json")))
    config["base_model_name_or_path"] = base
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    json.dump(config, open(os.path.join(place, "adapter_config.json"), "w"), indent=2, sort_keys=True)

    vocabulary = model.config.vocab_size
    lengths = [12, 7, 9]
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(0, vocabulary, (length,))
        mask[row, :length] = 1
        chosen = torch.rand(length) < 0.6
        labels[row, :length][chosen] = ids[row, :length][chosen]
    # Tokens with rows of their own, read and predicted, some twice.
    tokens = options.get("trainable_token_indices", [])
    for place, token in enumerate(sum(tokens.values(), []) if isinstance(tokens, dict) else tokens):
        for row in (0, place % 3):
            ids[row, 2 + place] = labels[row, 2 + place] = token
    batch = dict(input_ids=ids, labels=labels, attention_mask=mask)

    model.eval()  # no dropout is set; this is for the look of it
    output = model(**batch)
    output.loss.backward()
    tensors = {"logits": output.logits.detach() * mask[:, :, None]}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensors["grad." + key.replace(f".{adapter}.weight", ".weight").removesuffix(f".{adapter}")] = parameter.grad.clone()
    start = {k: v.clone() for k, v in model.state_dict().items()}
    plain = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR)
    losses = train(model, plain, batch)
    model.load_state_dict(start)
    plus = create_loraplus_optimizer(model, torch.optim.AdamW, lr=LR, loraplus_lr_ratio=RATIO,
                                     loraplus_weight_decay=0.01)
    plus_losses = train(model, plus, batch)
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    save_file(tensors, os.path.join(directory, "expected.safetensors"))
    expected = {k: v.tolist() for k, v in batch.items()}
    expected.update(base=base, adapter=adapter, loss=output.loss.item(), lr=LR, losses=losses, loraplus_lr_ratio=RATIO, loraplus_losses=plus_losses)
    json.dump(expected, open(os.path.join(directory, "expected.json"), "w"))


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for name, case in CASES.items():
        make(name, *case)
