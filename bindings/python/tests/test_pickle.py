"""Tokenizers and batches in other processes, and copies of them."""

import copy
import multiprocessing
import pickle
import shutil

import numpy as np
import pytest

import qwensft


def rows_of(tok, texts):
    return [tok.encode(text) for text in texts], tok.apply_chat_template([{"role": "user", "content": "2+2"}])


def loss_columns(batch):
    return batch.labels.tolist(), batch.token_weights.tolist()


@pytest.fixture(scope="module")
def batch(tok, conversation):
    half = [dict(message, weight=0.5) for message in conversation]
    return qwensft.preprocess(tok, [conversation, half])


def test_a_worker_that_was_spawned(tok, batch):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        texts = ["2+2等于几", "<|im_end|>", "hello"]
        assert pool.apply(rows_of, (tok, texts)) == rows_of(tok, texts)
        assert pool.apply(loss_columns, (batch,)) == loss_columns(batch)
        (there,) = pool.map(copy.copy, [batch])  # and back
        assert loss_columns(there) == loss_columns(batch)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled(tok, batch, protocol, model):
    again = pickle.loads(pickle.dumps(tok, protocol))
    assert repr(again) == repr(tok) and again.encode("2+2") == tok.encode("2+2")
    rows = pickle.loads(pickle.dumps(batch, protocol))
    for name in ("input_ids", "labels", "attention_mask", "token_weights"):
        assert np.array_equal(getattr(rows, name), getattr(batch, name))
    assert rows._repr_html_() == batch._repr_html_()
    trainer = qwensft.Trainer(model)
    assert trainer.evaluate(rows).loss == trainer.evaluate(batch).loss
    assert pickle.dumps(tok, protocol) == pickle.dumps(tok, protocol)  # which datasets' fingerprints are made of


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_closed_for_themselves(checkpoint, conversation, duplicate):
    tok = qwensft.Tokenizer.from_pretrained(checkpoint)
    other = duplicate(tok)
    batch = qwensft.preprocess(tok, [conversation])
    rows = duplicate({"batch": batch})["batch"]
    expected = tok.encode("hello"), batch.labels.tolist()
    tok.close()
    batch.close()
    assert (other.encode("hello"), rows.labels.tolist()) == expected
    other.close()
    with pytest.raises(ValueError, match="this Tokenizer is closed"):
        other.encode("hello")


def test_a_directory_that_changed_is_noticed(checkpoint, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{checkpoint}/{name}", tmp_path)
    pickled = pickle.dumps(qwensft.Tokenizer.from_pretrained(tmp_path))
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("<|endoftext|>", "<|endoftexts|>"))
    with pytest.raises((ValueError, qwensft.QwenSFTError)):
        pickle.loads(pickled)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)


def test_what_cannot_be_pickled_says_so(model, tok):
    for thing in (model, qwensft.Trainer(model), model.session(tok), tok.decoder()):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="can be neither copied nor pickled"):
                attempt(thing)
