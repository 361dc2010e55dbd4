#!/usr/bin/env python3
"""The article's experiment on a real checkpoint, against what PyTorch computed (Fixtures/seed_experiment.json).

    make check-real MODEL=DIR          # or: python3 Tests/check_real.py DIR [--no-torch]

Prints one line a check; exits 1 if one fails. Beside it, what a step costs: seconds and peak memory (VmHWM of a
process that does nothing else, loading included), and the same of PyTorch float32 in the same run. The parts run in
processes of their own, one after another, because each is measured for itself.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = os.path.join(HERE, "Fixtures/seed_experiment.json")
sys.path.append(os.path.join(HERE, "../bindings/python/src"))
STEPS = 10
TORCH_STEPS = 5
GREEDY = dict(do_sample=False, repetition_penalty=1.0)
NEW_TOKENS = 40
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
PROMPTS = [
    *([SYSTEM, {"role": "user", "content": question}] for question in (
        "Write a Python function that reverses a string.", "What is the capital of France?", "为什么天空是蓝色的？",
        "List three prime numbers and explain why they are prime.", "Translate to German: the cat sleeps on the roof.")),
    [SYSTEM, {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Nice to meet you, Ada!"},
     {"role": "user", "content": "What is my name?"}],
]

failures = 0


def check(passed, what):
    global failures
    failures += not passed
    print(f"{'ok  ' if passed else 'FAIL'}  {what}", flush=True)


def peak_memory():
    """Bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def prompt_messages(reference, question):
    system = reference["conversations"][0][0]
    return [system, {"role": "user", "content": question}]


def relative(got, expected):
    return abs(got - expected) / abs(expected)


# --- the parts, each in a process of its own; the last line of output is its result -----------------------------------

def experiment(directory, reference):
    """Everything the article does, with this library."""
    import qwensft
    start = time.monotonic()
    tokenizer = qwensft.Tokenizer.from_pretrained(directory)
    model = qwensft.Model.from_pretrained(directory, dtype="float32")
    loading = time.monotonic() - start

    batch = qwensft.preprocess(tokenizer, reference["conversations"], label_policy="qwen")
    for name in ("input_ids", "labels", "attention_mask"):
        check(getattr(batch, name).tolist() == reference[name], f"{name} of {batch.input_ids.shape}, exactly")

    logits = model.forward(batch.input_ids, batch.attention_mask)[0]
    check(logits.argmax(-1).tolist() == reference["argmax_row0"], "the likeliest next token at every position")
    expected = reference["logits_row0_last_first8"]
    worst = max(abs(a - b) for a, b in zip(logits[-1, :8].tolist(), expected))
    check(worst < 1e-3, f"logits within 1e-3: {worst:.1e}")

    for question, answer in reference["before"].items():
        messages = prompt_messages(reference, question)
        ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
        check(list(ids) == answer["prompt_ids"], f"ids of the prompt {question!r}")
        new_ids = model.generate(ids, **GREEDY)
        check(list(new_ids) == answer["new_ids"], f"greedy ids before: {tokenizer.decode(new_ids)}")
        text = model.chat(tokenizer, messages, **GREEDY)
        check(text == answer["text"], f"greedy answer before: {text}")

    trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=reference["sgd"]["lr"]))
    evaluated = trainer.evaluate(batch)
    check(relative(evaluated.loss, reference["losses"][0]) < 1e-3, f"evaluation: loss {evaluated.loss:.5f}")
    steps = [trainer.step(batch) for _ in range(STEPS)]
    check(all(m.supervised_tokens == reference["supervised_tokens"] for m in [evaluated, *steps]),
          f"supervised tokens: {steps[0].supervised_tokens}")
    print("      losses " + " ".join(f"{m.loss:.4f}" for m in steps))
    print("      PyTorch " + " ".join(f"{loss:.4f}" for loss in reference["losses"]))
    for number, (m, loss) in enumerate(zip(steps[:3], reference["losses"]), 1):
        check(relative(m.loss, loss) < 1e-3, f"loss of step {number} within 1e-3: {relative(m.loss, loss):.1e}")
    check(steps[-1].loss < 0.5, f"loss of step {STEPS} below 0.5: {steps[-1].loss:.4f}")

    for question, answer in reference["after"].items():
        text = model.chat(tokenizer, prompt_messages(reference, question), **GREEDY)
        if question == reference["conversations"][0][1]["content"]:
            check(text == answer["text"], f"greedy answer after: {text}")
        else:
            print(f"      {question} -> {text} (PyTorch: {answer['text']})")
    return {"loading": loading}


def gradient_norms(directory, reference):
    """First gradients. They need memory that a plain SGD step does not, so they are not measured."""
    import qwensft
    model = qwensft.Model.from_pretrained(directory, dtype="float32")
    batch = qwensft.Batch(reference["input_ids"], reference["labels"], reference["attention_mask"])
    trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=reference["sgd"]["lr"]))
    norms, expected = trainer.gradient_norms(batch), reference["grad_l2"]
    check(set(norms) == set(expected), f"{len(norms)} parameters have a gradient")
    errors = sorted((relative(norms[name], norm), name) for name, norm in expected.items() if name in norms)
    check(bool(errors) and errors[-1][0] < 1e-3,
          f"every gradient's norm within 1e-3: worst {errors[-1][0]:.1e}, {errors[-1][1]}" if errors else "no gradients")
    return {"norms": norms}


def steps_here(directory, reference):
    """What a step costs with this library: a program that loads and trains, nothing more."""
    import qwensft
    model = qwensft.Model.from_pretrained(directory, dtype="float32")
    batch = qwensft.Batch(reference["input_ids"], reference["labels"], reference["attention_mask"])
    trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=reference["sgd"]["lr"]))
    seconds = []
    for _ in range(STEPS):
        start = time.monotonic()
        trainer.step(batch)
        seconds.append(time.monotonic() - start)
    return {"seconds": seconds, "threads": qwensft.get_num_threads()}


def steps_torch(directory, reference):
    """The same with PyTorch in float32."""
    import torch
    import transformers
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).train()
    batch = {name: torch.tensor(reference[name]) for name in ("input_ids", "labels", "attention_mask")}
    optimizer = torch.optim.SGD(model.parameters(), lr=reference["sgd"]["lr"])
    seconds, losses, norms = [], [], {}
    for _ in range(TORCH_STEPS):
        start = time.monotonic()
        optimizer.zero_grad()
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        optimizer.step()
        seconds.append(time.monotonic() - start)
        # Summed in double: the reference's norms are torch's own float32 ones, off by up to 7e-4 in the large matrices.
        norms = norms or {name: p.grad.double().norm().item() for name, p in model.named_parameters()}
        losses.append(loss.item())
    worst = max(relative(a, b) for a, b in zip(losses[:3], reference["losses"]))
    check(worst < 1e-3, f"PyTorch {torch.__version__} repeats its own first losses here: {worst:.1e}")
    return {"seconds": seconds, "threads": torch.get_num_threads(), "norms": norms}


def answers_here(directory, reference):
    """Greedy answers to several prompts, one of them in a second turn."""
    import qwensft
    tokenizer = qwensft.Tokenizer.from_pretrained(directory)
    model = qwensft.Model.from_pretrained(directory, dtype="float32")
    answers = []
    for messages in PROMPTS:
        ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
        answers.append({"prompt": list(ids), "new": list(model.generate(ids, max_new_tokens=NEW_TOKENS, **GREEDY))})
    return {"answers": answers}


def answers_torch(directory, reference):
    """The same with transformers in float32."""
    import torch
    import transformers
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    answers = []
    for messages in PROMPTS:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=NEW_TOKENS, do_sample=False, repetition_penalty=1.0,
                                 temperature=None, top_p=None, top_k=None)
        prompt = ids["input_ids"][0].tolist()
        answers.append({"prompt": prompt, "new": out[0].tolist()[len(prompt):], "text": tokenizer.decode(out[0][len(prompt):])})
    return {"answers": answers}


PARTS = {"experiment": experiment, "gradients": gradient_norms, "steps": steps_here, "torch": steps_torch,
         "answers": answers_here, "answers-torch": answers_torch}


def run_part(name, directory):
    """In this process: the checks as lines, then one line of JSON."""
    with open(REFERENCE, encoding="utf-8") as f:
        reference = json.load(f)
    result = PARTS[name](directory, reference)
    print(json.dumps({**result, "failures": failures, "peak": peak_memory()}))


def start_part(name, directory):
    """In a process of its own; its checks are passed on, its result is returned. None if it broke."""
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), directory, "--part", name],
                               stdout=subprocess.PIPE, text=True)
    last = None
    for line in process.stdout:
        if last is not None:
            print(last, end="", flush=True)
        last = line
    if process.wait() != 0 or last is None:
        if last is not None:
            print(last, end="")
        check(False, f"the part {name!r} ended with exit code {process.returncode}")
        return None
    result = json.loads(last)
    global failures
    failures += result["failures"]
    return result


def has_torch():
    from importlib.util import find_spec
    return find_spec("torch") is not None and find_spec("transformers") is not None


def cost(name, result):
    median = statistics.median(result["seconds"][1:])
    print(f"{name:24}{median:8.2f} s a step (median; best {min(result['seconds']):.2f}, first {result['seconds'][0]:.2f})"
          f"{result['peak'] / 2**30:8.2f} GiB at the peak   {result['threads']} threads")
    return median


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("directory", help="the checkpoint that seed_experiment.json was computed with")
    arguments.add_argument("--no-torch", action="store_true", help="leave the comparison with PyTorch out")
    arguments.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    a = arguments.parse_args()
    if a.part:
        return run_part(a.part, a.directory)

    start_part("experiment", a.directory)
    gradients = start_part("gradients", a.directory)
    ours = start_part("steps", a.directory)
    if a.no_torch:
        print("      without PyTorch, as asked")
        if ours:
            cost("QwenSFT float32", ours)
    elif not has_torch():
        check(False, "torch and transformers are not installed: pip install torch transformers, or --no-torch")
    else:
        theirs = start_part("torch", a.directory)
        if gradients and theirs:
            worst = max((relative(gradients["norms"][name], norm), name) for name, norm in theirs["norms"].items())
            check(worst[0] < 1e-4, f"and within 1e-4 of PyTorch's, summed in double: worst {worst[0]:.1e}, {worst[1]}")
        answers, expected = start_part("answers", a.directory), start_part("answers-torch", a.directory)
        for mine, other in zip((answers or {}).get("answers", []), (expected or {}).get("answers", [])):
            check(mine["prompt"] == other["prompt"] and mine["new"] == other["new"],
                  f"{len(mine['new'])} greedy ids as transformers': {other['text'][:60]!r}")
        if ours and theirs:
            mine, other = cost("QwenSFT float32", ours), cost("PyTorch float32", theirs)
            check(mine <= other, f"a step is no slower than PyTorch's: {other / mine:.2f} times as fast")
            check(ours["peak"] <= theirs["peak"], f"nor takes more memory: {theirs['peak'] / ours['peak']:.2f} times less")
    print(f"{failures} checks failed" if failures else "all checks passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
