"""GGUF files: written, opened, answered from, adapted."""

import struct
from pathlib import Path

import pytest
import qwensft

ROOT = Path(__file__).parents[3]
TINY = ROOT / "Examples/tiny-qwen2"
GGUF = ROOT / "Tests/Fixtures/gguf"
QUESTION = [{"role": "user", "content": "2+2等于几"}]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    qwensft.Model.from_pretrained(TINY).save_gguf(path, dtype="f32", modelfile=True)
    return path


def test_a_file_answers_as_the_directory_does(exported):
    model, tokenizer = qwensft.Model.from_pretrained(exported), qwensft.Tokenizer.from_pretrained(exported)
    base, own = qwensft.Model.from_pretrained(TINY), qwensft.Tokenizer.from_pretrained(TINY)
    assert tokenizer.apply_chat_template(QUESTION) == own.apply_chat_template(QUESTION)
    for prompt in ["2+2等于几", "Who are you?"]:
        options = dict(do_sample=False, max_new_tokens=24)
        (mine,) = model.replies(tokenizer, prompt, **options)
        (theirs,) = base.replies(own, prompt, **options)
        assert (mine.ids, mine.finish_reason) == (theirs.ids, theirs.finish_reason)
    assert "FROM ./tiny.gguf" in (exported.parent / "Modelfile").read_text()


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "q8_0"])
def test_every_type_comes_back_unchanged(tmp_path, dtype):
    qwensft.Model.from_pretrained(TINY).save_gguf(tmp_path / "a.gguf", dtype=dtype)
    model = qwensft.Model.from_pretrained(tmp_path / "a.gguf")
    model.save_gguf(tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert model.chat(qwensft.Tokenizer.from_pretrained(tmp_path / "a.gguf"), "2+2等于几", do_sample=False) == "2+2等于4。"


def test_llama_cpps_own_file_opens(tmp_path):
    path = GGUF / "qwen2-tied/q8_0.gguf"
    model = qwensft.Model.from_pretrained(path, dtype="bfloat16")
    assert model.config.vocab_size == 704 and model.config.tie_word_embeddings
    model.save_pretrained(tmp_path / "saved")
    assert qwensft.Tokenizer.from_pretrained(tmp_path / "saved").encode("2+2") == qwensft.Tokenizer.from_pretrained(path).encode("2+2")
    assert (tmp_path / "saved/config.json").exists()


def test_adapters_are_trained_on_a_file_and_exported(exported, tmp_path):
    tokenizer = qwensft.Tokenizer.from_pretrained(exported)
    model = qwensft.Model.from_pretrained(exported, quantization="int8")
    model.add_adapter(qwensft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, seed=1))
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW(lr=1e-2))
    batch = qwensft.preprocess(tokenizer, [[*QUESTION, {"role": "assistant", "content": "2+2等于5。"}]])
    for _ in range(10):
        trainer.step(batch)
    assert model.chat(tokenizer, "2+2等于几", do_sample=False) == "2+2等于5。"
    model.save_adapter_gguf(tmp_path / "adapter.gguf")
    data = (tmp_path / "adapter.gguf").read_bytes()
    key = b"adapter.lora.alpha" + struct.pack("<I", 6)
    (alpha,) = struct.unpack_from("<f", data, data.index(key) + len(key))
    assert alpha == pytest.approx(6 / 4**0.5 * 4)  # the scale times the rank
    assert data.count(b".lora_a") == data.count(b".lora_b") == 4 * 7
    with pytest.raises(qwensft.UnsupportedError, match="'general.type' is 'adapter'"):
        qwensft.Model.from_pretrained(tmp_path / "adapter.gguf")
    with pytest.raises(qwensft.UnsupportedError, match="cannot be saved"):
        model.save_gguf(tmp_path / "no.gguf")


def test_errors_and_cancelling(tmp_path):
    model = qwensft.Model.from_pretrained(TINY)
    with pytest.raises(qwensft.InvalidArgumentError, match="dtype"):
        model.save_gguf(tmp_path / "x.gguf", dtype="q4_0")
    with pytest.raises(qwensft.CancelledError):
        model.save_gguf(tmp_path / "x.gguf", on_progress=lambda done, total: True)
    with pytest.raises(qwensft.InvalidArgumentError, match="no adapter 'a'"):
        model.save_adapter_gguf(tmp_path / "x.gguf", "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(qwensft.InvalidFileError, match="within its header"):
        qwensft.Model.from_pretrained(tmp_path / "x.gguf")
    with pytest.raises(qwensft.InvalidFileError, match="does not begin"):
        qwensft.Tokenizer.from_pretrained(TINY / "config.json")
