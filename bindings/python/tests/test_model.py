import copy
import os
import pickle
import tempfile
import threading

import numpy as np
import pytest

import qwensft

GREEDY = {"do_sample": False, "repetition_penalty": 1.0, "max_new_tokens": 12}


@pytest.fixture(scope="session")
def prompt(tok, conversation):
    return tok.apply_chat_template(conversation[:2], tokenize=True, add_generation_prompt=True)


def test_config(model):
    config = model.config
    assert config.hidden_size and config.num_hidden_layers and config.dtype == "float32"
    shapes = model.parameter_shapes()
    assert shapes["model.embed_tokens.weight"] == (config.vocab_size, config.hidden_size)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == model.num_parameters()


def test_forward(model):
    logits = model.forward([[1, 2, 3], [4, 5, 0]], [[1, 1, 1], [1, 1, 0]])
    assert logits.shape == (2, 3, model.config.vocab_size) and logits.dtype == np.float32
    np.testing.assert_allclose(logits[1, :2], model.forward([[4, 5]])[0], atol=1e-4)
    with pytest.raises(ValueError, match="99999999"):
        model.forward([[99999999]])
    with pytest.raises(ValueError, match=r"attention_mask has shape \(1, 1\), expected \(1, 2\) as input_ids"):
        model.forward([[1, 2]], [[1]])
    with pytest.raises(ValueError):
        model.forward(np.zeros((0, 0), dtype=np.int64))


def test_chat_is_template_generate_decode(model, tok, conversation, prompt):
    ids = model.generate(prompt, **GREEDY)
    assert 1 <= len(ids) <= 12 and all(type(id) is int for id in ids)
    assert model.chat(tok, conversation[:2], **GREEDY) == tok.decode(ids, skip_special_tokens=True)
    assert isinstance(model.chat(tok, "2+2等于几", **GREEDY), str)


def test_greedy_takes_the_likeliest(model, prompt):
    first = model.generate(prompt, **{**GREEDY, "max_new_tokens": 1})
    assert first == [int(model.forward([prompt])[0, -1].argmax())]


def test_seed(model, prompt):
    sampled = dict(do_sample=True, temperature=5.0, top_k=0, top_p=1.0, max_new_tokens=20)
    answers = [model.generate(prompt, seed=seed, **sampled) for seed in (1, 1, 2, 3, 4)]
    assert answers[0] == answers[1] and len({tuple(answer) for answer in answers}) > 1


def test_seeds_that_are_none(model, prompt):
    assert model.generate(prompt, seed=2**64 - 1, do_sample=True, max_new_tokens=1)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=f"seed is {seed}, expected 0 to"):
            model.generate(prompt, seed=seed)
        with pytest.raises(ValueError, match=f"seed is {seed}, expected 0 to"):
            qwensft.Trainer(model, seed=seed)
    with pytest.raises(TypeError, match="seed is float, expected int"):
        model.generate(prompt, seed=1.5)


def test_callback(model, prompt):
    seen = []
    ids = model.generate(prompt, on_token=seen.append, **GREEDY)
    assert seen == ids
    assert model.generate(prompt, on_token=lambda id: True, **GREEDY) == ids[:1]

    def fail(id):
        raise LookupError(id)

    with pytest.raises(LookupError):
        model.generate(prompt, on_token=fail, **GREEDY)
    assert model.generate(prompt, **GREEDY) == ids


def test_interrupt(model, prompt):
    import signal

    # Tests that run in the background of a shell find the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.generate(prompt, on_token=lambda id: signal.raise_signal(signal.SIGINT), **GREEDY)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_busy(model, prompt):
    def use_it_elsewhere(id):
        errors = []

        def other():
            try:
                model.forward([[1]])
            except qwensft.BusyError as error:
                errors.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert errors == ["the model is in use on another thread"]

    model.generate(prompt, on_token=use_it_elsewhere, **GREEDY)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"do_sample": True, "temperature": 0.0}, "temperature"),
        ({"do_sample": True, "top_p": 1.5}, "top_p"),
        ({"do_sample": True, "top_k": -3}, "top_k"),
        ({"temperature": -2.0}, "temperature"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
    ],
)
def test_bad_options(model, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate([1], **options)


def test_options_of_wrong_types(model):
    with pytest.raises(TypeError, match="temperature is str, expected a number"):
        model.generate([1], temperature="hot")
    with pytest.raises(TypeError, match="top_k is float, expected int"):
        model.generate([1], top_k=2.5)


def test_models_are_neither_copied_nor_pickled(model):
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"a Model can be neither copied nor pickled; models have clone\(\)"):
            copying(model)


def test_bad_ids(model):
    with pytest.raises(ValueError, match="99999999"):
        model.generate([99999999])
    with pytest.raises(ValueError):
        model.generate([])


def test_check_destination(model, tmp_path):
    model.check_destination(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError):
        model.check_destination(tmp_path / "new", dtype="int8")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="is a file, not a directory"):
        model.check_destination(tmp_path / "file")


def test_save_where_only_the_directory_is_writable(model):
    """Its parent is not, as with a volume of a container; and the owner stays."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as place:
        target = os.path.join(place, "out")
        os.mkdir(target)
        os.chmod(place, 0o555)
        try:
            if is_root:
                os.chown(target, 65534, 65534)
                os.seteuid(65534)  # root may write everywhere
            for _ in range(2):
                model.check_destination(target)
                model.save_pretrained(target)
            with pytest.raises(OSError, match="Permission denied"):
                model.check_destination(os.path.join(place, "other"))
        finally:
            if is_root:
                os.seteuid(0)
            os.chmod(place, 0o755)
        if is_root:
            model.save_pretrained(target)
            assert {os.stat(os.path.join(target, name)).st_uid for name in [".", *os.listdir(target)]} == {65534}
        assert os.listdir(place) == ["out"]
        qwensft.Model.from_pretrained(target).close()


def test_save(checkpoint, model, tok, tmp_path):
    target = tmp_path / "saved"
    model.save_pretrained(target, dtype="float32")
    assert qwensft.Model.from_pretrained(target, dtype="auto").config.dtype == "float32"
    assert qwensft.Model.from_pretrained(checkpoint, dtype="auto").config.dtype == "bfloat16"
    again = qwensft.Model.from_pretrained(target)
    for (name, values), (name_again, values_again) in zip(model.named_parameters(), again.named_parameters()):
        assert name == name_again
        np.testing.assert_array_equal(values, values_again)
    assert qwensft.Tokenizer.from_pretrained(target).encode("2+2等于几") == tok.encode("2+2等于几")
    with pytest.raises(ValueError, match="dtype is 'int8', expected one of None, 'float32'"):
        model.save_pretrained(target, dtype="int8")
    with pytest.raises(OSError):
        model.save_pretrained("/dev/null/nowhere")


def test_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        qwensft.Model.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(qwensft.UnsupportedError, match="llama|Llama"):
        qwensft.Model.from_pretrained(tmp_path)


def test_progress(checkpoint, model, tmp_path):
    seen = []
    opened = qwensft.Model.from_pretrained(checkpoint, on_progress=lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    assert seen == sorted(seen) and seen[0] == (0, total) and seen[-1] == (total, total) and len(seen) > 3
    with pytest.raises(qwensft.CancelledError, match="cancelled while the weights were read"):
        qwensft.Model.from_pretrained(checkpoint, on_progress=lambda done, total: done > 0)
    target = tmp_path / "saved"
    opened.save_pretrained(target, dtype="float32", on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4 * opened.num_parameters(),) * 2
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(qwensft.CancelledError):
        opened.save_pretrained(target, on_progress=lambda done, total: done > 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    qwensft.Model.from_pretrained(target)

    def fail(done, total):
        raise LookupError(done)

    with pytest.raises(LookupError):
        opened.save_pretrained(target, on_progress=fail)


@pytest.mark.parametrize("form", ["int8", "int6", "int4", "lossless"])
def test_quantization(checkpoint, tok, model, form):
    small = qwensft.Model.from_pretrained(checkpoint, quantization=form)
    assert small.config.quantization == form and model.config.quantization is None
    assert small.chat(tok, "2+2等于几", **GREEDY) == model.chat(tok, "2+2等于几", **GREEDY)
    batch = qwensft.Batch([[1, 2]], [[1, 2]])
    with pytest.raises(qwensft.UnsupportedError, match=f"the model was opened in {form}, not with full weights; only an adapter can be trained"):
        qwensft.Trainer(small).step(batch)
    with pytest.raises(ValueError, match="quantization is 'int5', expected one of None, 'int8', 'lossless', 'int6', 'int4'"):
        qwensft.Model.from_pretrained(checkpoint, quantization="int5")
