"""The samples of docs/ and of the Swift articles are programs: Python's are run, C's compiled and run, Swift's compiled."""

import json
import os
import re
import subprocess
import types

import numpy as np
import pytest
from test_readme import LIBRARY, ROOT, SWIFT_HEADERS, run

import qwensft

DOCS = ROOT / "docs"
ARTICLES = ROOT / "Sources" / "QwenSFTCore" / "QwenSFTCore.docc"
TINY = ROOT / "Examples" / "tiny-qwen2"


def samples(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), flags=re.S | re.M)


def place(tmp_path, monkeypatch):
    """What the samples take for granted."""
    monkeypatch.chdir(tmp_path)
    lines = [
        {"messages": [{"role": "user", "content": f"{n}+2"}, {"role": "assistant", "content": str(n + 2)}]} for n in range(8)
    ]
    for name in ("data.jsonl", "held-out.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    tok = qwensft.Tokenizer.from_pretrained(TINY)
    model = qwensft.Model.from_pretrained(TINY)
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-4))
    conversation = lines[0]["messages"]
    return {
        "qwensft": qwensft,
        "DIR": str(TINY),
        "directory": str(TINY),
        "tok": tok,
        "model": model,
        "trainer": trainer,
        "batch": qwensft.preprocess(tok, [conversation]),
        "data": qwensft.Dataset(tok, "data.jsonl"),
        "dataset": qwensft.Dataset(tok, "data.jsonl"),
        "other": qwensft.Dataset(tok, "held-out.jsonl"),
        "messages": conversation[:1],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
        "run": lambda name, arguments: "4",
        "pandas": types.SimpleNamespace(DataFrame=list),
    }


def test_start(tmp_path, monkeypatch, capsys):
    names = place(tmp_path, monkeypatch)
    first, second = samples(DOCS / "start.md", "python")
    exec(first, {"DIR": names["DIR"]} | (spoken := {}), spoken)
    exec(second, spoken)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("2+2等于") and said[-1] == "2+2等于5。" and (tmp_path / "fine-tuned" / "config.json").exists()


def test_adapters(tmp_path, monkeypatch):
    (sample,) = samples(DOCS / "adapters.md", "python")
    names = place(tmp_path, monkeypatch)
    other = qwensft.Model.from_pretrained(TINY)
    other.add_adapter(qwensft.LoraConfig(r=4))
    other.save_adapter("another")
    exec(sample, names)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_chat_templates(tmp_path, monkeypatch):
    (sample,) = samples(DOCS / "chat-templates.md", "python")
    names = place(tmp_path, monkeypatch)
    exec(sample, names)
    assert names["messages"][1]["role"] == "assistant"


def test_many_machines(tmp_path, monkeypatch):
    (sample,) = samples(DOCS / "many-machines.md", "python")
    alone = qwensft.distributed.Collective(0, 1, lambda values: None)
    monkeypatch.setattr(qwensft.distributed, "mpi4py", lambda: alone)
    names = place(tmp_path, monkeypatch)
    exec(sample, names)
    assert names["ranks"] is alone


@pytest.mark.filterwarnings("ignore::qwensft.QwenSFTWarning")  # eight conversations are few
def test_training_runs(tmp_path, monkeypatch):
    (sample,) = samples(DOCS / "training-runs.md", "python")
    names = place(tmp_path, monkeypatch)
    exec(sample, names)
    assert (tmp_path / "new" / "model.safetensors").exists() and np.isfinite(names["event"].loss or 0)


def test_c(tmp_path):
    (sample,) = samples(DOCS / "start.md", "c")
    (tmp_path / "first.c").write_text(sample)
    for standard in ("c11", "c17"):
        flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}/include", f"-L{LIBRARY}", "-lqwensft"]
        run(["cc", tmp_path / "first.c", *flags, "-o", tmp_path / "first"])
        (answer,) = run([tmp_path / "first", TINY], env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARY)})
        assert answer.startswith("2+2等于")


def swift_programs():
    """Each article's samples together, and those of docs/."""
    yield from (("\n".join(samples(path, "swift")), path.stem) for path in sorted(ARTICLES.glob("*.md")))
    yield samples(DOCS / "start.md", "swift")[1], "start"
    (fragment,) = samples(DOCS / "training-runs.md", "swift")
    yield (
        "import QwenSFTCore\nfunc sample(\n    _ model: Model, _ tokenizer: Tokenizer, _ data: EncodedDataset, "
        "_ other: EncodedDataset, _ output: String\n) throws {\n" + fragment + "}\n",
        "training-runs",
    )


def test_swift(tmp_path):
    streaming = tmp_path / "QwenSFTStreaming.swiftmodule"
    sources = sorted((ROOT / "Sources" / "QwenSFTStreaming").glob("*.swift"))
    run(
        ["swiftc", "-emit-module", "-module-name", "QwenSFTStreaming", "-swift-version", "6", "-emit-module-path", streaming]
        + ["-package-name", "qwensft", *SWIFT_HEADERS, *sources]
    )
    compiled = 0
    for text, name in swift_programs():
        if not text:
            continue  # the landing page
        (tmp_path / name).mkdir()
        program = tmp_path / name / "main.swift"
        program.write_text(text)
        result = subprocess.run(
            ["swiftc", "-typecheck", "-swift-version", "6", f"-I{tmp_path}", *SWIFT_HEADERS, program], capture_output=True, text=True
        )
        assert result.returncode == 0 and "warning:" not in result.stderr, f"{name}:\n{result.stderr}"
        compiled += 1
    assert compiled == 5


def test_the_manifest(tmp_path):
    """A package needs the version that there is, and the manifest is Swift, too."""
    manifest = samples(DOCS / "start.md", "swift")[0]
    assert f'from: "{qwensft.__version__}"' in manifest
    assert f'from: "{qwensft.__version__}"' in (ROOT / "Examples" / "swift" / "Package.swift").read_text()
    (tmp_path / "Package.swift").write_text(manifest)
    run(["swift", "package", "--package-path", tmp_path, "dump-package"])
