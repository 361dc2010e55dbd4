"""Data in every form: files, rows, tables; its report and its parts."""

import builtins
import gzip
import json
import os
import shutil
import threading
from pathlib import Path

import datasets
import numpy as np
import pandas
import pyarrow.parquet
import pytest

import qwensft

DATA = Path(__file__).resolve().parents[3] / "Tests" / "Fixtures" / "data"


def conversation(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


CONVERSATIONS = [conversation(f"{i}+1等于几", f"{i}+1等于{i + 2}。") for i in range(6)]


def test_dataset(tok, tmp_path):
    data = qwensft.Dataset(tok, CONVERSATIONS, label_policy="assistant")
    assert len(data) == data.report.conversations == 6 and data.report.supervised_tokens > 12
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in CONVERSATIONS))
    again = qwensft.Dataset(tok, path, label_policy="assistant").report
    assert (again.tokens, again.lengths, again.roles) == (data.report.tokens, data.report.lengths, data.report.roles)
    unusable = [*CONVERSATIONS, [{"role": "user", "content": "a"}]]
    with pytest.raises(qwensft.NoSupervisedTokensError, match="row 6: no token is supervised"):
        qwensft.Dataset(tok, unusable, label_policy="assistant")
    report = qwensft.Dataset(tok, unusable, label_policy="assistant", drop_unusable=True).report
    assert (report.conversations, report.without_target, report.read) == (6, [6], 7)
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(qwensft.InvalidFileError, match=r"data.jsonl:7:"):
        qwensft.Dataset(tok, path)
    with pytest.raises(FileNotFoundError):
        qwensft.Dataset(tok, tmp_path / "nowhere.jsonl")


def test_what_a_dataset_leaves_aside_is_said(tok, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"id": 1, "messages": [{**CONVERSATIONS[0][0], "wieght": 0}, CONVERSATIONS[0][1]]}) + "\n")
    with pytest.warns(qwensft.QwenSFTWarning) as caught:
        qwensft.Dataset(tok, path, label_policy="all", max_length=12)
    assert [str(warning.message) for warning in caught] == [
        "data.jsonl: 1 of 1 conversations were cut to 12 tokens; the rest of them is not learned (line 1)",
        "data.jsonl: the key 'id' is not used (1 times, first in line 1)",
        "data.jsonl: the key 'messages[].wieght' is not used (1 times, first in line 1)",
    ]


def test_the_context_is_the_models(checkpoint, tok, tmp_path):
    """The tokenizer's model_max_length is where rows are cut by default; what is too long is for the model to say."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(checkpoint, name), tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 16}))
    short = qwensft.Tokenizer.from_pretrained(tmp_path)
    row = conversation("1+1等于几" * 4, "1+1等于2。")
    length = qwensft.preprocess(tok, [row], add_default_system=True).shape[1]
    assert length > 16
    with pytest.warns(qwensft.QwenSFTWarning, match=r"were cut to 16 tokens \(the tokenizer's model_max_length;"):
        assert qwensft.preprocess(short, [row], label_policy="all").shape[1] == 16
    with pytest.raises(qwensft.NoSupervisedTokensError, match=f"cut to 16 of {length} tokens"):
        qwensft.preprocess(short, [row], label_policy="assistant")
    assert qwensft.preprocess(short, [row], max_length=1000, add_default_system=True).shape[1] == length
    data = qwensft.Dataset(short, [row, row], max_length=1000, context_length=length)
    assert (data.report.truncated, data.report.duplicates, data.report.conversations) == ([], [1], 2)
    with pytest.raises(qwensft.TooLongError, match=f"row 0: {length} tokens are more than the model's context of {length - 1}"):
        qwensft.Dataset(short, [row], max_length=1000, context_length=length - 1)
    with pytest.raises(ValueError, match="context_length is 0, expected None or at least 1"):
        qwensft.Dataset(short, [row], context_length=0)


def test_data_from_a_pipe(tok, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    line = json.dumps({"messages": CONVERSATIONS[0]}) + "\n"
    writer = threading.Thread(target=lambda: pipe.write_text(line * 5000))
    writer.start()
    assert len(qwensft.Dataset(tok, pipe)) == 5000
    writer.join()


def same(a, b):
    return all(np.array_equal(x.input_ids, y.input_ids) and np.array_equal(x.labels, y.labels) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ["sharegpt.json", "alpaca.json", "prompt_completion.jsonl", "messages.jsonl"])
@pytest.mark.filterwarnings("ignore:.*is not used")
def test_rows_of_every_format(tok, name, tmp_path):
    """What a file holds and the same as Python's rows."""
    data = qwensft.Dataset(tok, DATA / name)
    text = (DATA / name).read_text()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    assert len(data) == 2 and same(data, qwensft.Dataset(tok, rows))
    packed = tmp_path / "data.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert same(data, qwensft.Dataset(tok, packed))
    assert same(data, qwensft.Dataset(tok, (dict(row) for row in rows)))
    kind = name.split(".")[0]
    assert kind in str(data.report) and same(data, qwensft.Dataset(tok, rows, format=kind))


@pytest.mark.filterwarnings("ignore:.*is not used")
def test_columns(tok):
    rows = [{"q": "2+2", "a": "4"}, {"q": "3+3", "a": "6"}]
    data = qwensft.Dataset(tok, rows, columns={"prompt": "q", "completion": "a"})
    assert same(data, qwensft.Dataset(tok, [conversation("2+2", "4"), conversation("3+3", "6")]))
    assert len(qwensft.Dataset(tok, DATA / "question_answer.jsonl", limit=1)) == 1
    with pytest.raises(ValueError, match="^row 0: expected 'messages', or 'conversations', or .*; found 'q', 'a'; a map"):
        qwensft.Dataset(tok, rows)
    with pytest.raises(ValueError, match="the map names 'question', which no format has"):
        qwensft.Dataset(tok, rows, columns={"question": "q"})
    with pytest.raises(ValueError, match="format is 'csv', expected one of None, 'messages', 'sharegpt'"):
        qwensft.Dataset(tok, rows, format="csv")


def test_report(tok):
    rows = [*CONVERSATIONS, CONVERSATIONS[2], conversation("a", "<|im_end|>"), [CONVERSATIONS[0][0]], conversation("b", "c " * 99)]
    with pytest.warns(qwensft.QwenSFTWarning, match=r"1 of 9 conversations were cut to 40 tokens; .* \(row 9\)"):
        data = qwensft.Dataset(tok, rows, label_policy="assistant", drop_unusable=True, max_length=40, add_default_system=False)
    report = data.report
    assert (report.read, report.conversations, report.rows) == (10, 9, 9)
    assert (report.truncated, report.without_target, report.duplicates, report.control_tokens) == ([9], [8], [6], [7])
    assert report.too_long == [] and report.roles == {"user": 10, "assistant": 9} and report.lengths.longest == 40
    assert report.supervised_share == report.supervised_tokens / report.tokens
    lengths = sorted(batch.shape[1] for batch in data)
    assert report.lengths == (lengths[0], lengths[4], 40, 40) and report.tokens == sum(lengths)
    assert str(report) == repr(report) and "  1 left out, nothing supervised (row 8)" in str(report).splitlines()
    with pytest.raises(ValueError, match=r"1 left out, nothing supervised \(row 8\); 1 equal to an earlier one \(row 6\)"):
        qwensft.Dataset(tok, rows, label_policy="assistant", strict=True)


def test_batches_by_index(tok):
    data = qwensft.Dataset(tok, CONVERSATIONS)
    assert same([data[-1], data[np.int64(1)]], [qwensft.preprocess(tok, [CONVERSATIONS[i]], add_default_system=True) for i in (5, 1)])
    assert same([data[1:4]], [qwensft.preprocess(tok, CONVERSATIONS[1:4], add_default_system=True)])
    assert data[4:1:-2].conversation_of_row.tolist() == [0, 1] and len(list(data)) == 6
    assert data[1]._repr_html_() == qwensft.preprocess(tok, [CONVERSATIONS[1]], add_default_system=True)._repr_html_()
    for index in (6, -7):
        with pytest.raises(IndexError, match=f"there is no conversation {index} among 6"):
            data[index]
    with pytest.raises(IndexError, match="holds none of 6 conversations"):
        data[3:3]
    with pytest.raises(TypeError):
        data["a"]


def test_split(tok):
    rows = [conversation(f"{i}?", f"{i}!") for i in range(60)]
    data = qwensft.Dataset(tok, rows)
    training, validation = data.split(0.1, seed=1)
    assert (len(training), len(validation)) == (54, 6)
    data.close()
    texts = {tok.decode(row.input_ids[0].tolist()) for part in (training, validation) for row in part}
    assert len(texts) == 60
    again = qwensft.Dataset(tok, rows[::-1]).split(0.1, seed=1)[1]
    assert {tuple(batch.input_ids[0]) for batch in again} == {tuple(batch.input_ids[0]) for batch in validation}
    assert training.hold_out()[1] is None
    more = qwensft.Dataset(tok, [conversation(f"{i}?", f"{i}!") for i in range(500)])
    assert [len(part) for part in more.hold_out()] == [475, 25]
    for share in (0, 1, float("nan")):
        with pytest.raises(ValueError, match="expected more than 0 and less than 1"):
            more.split(share)


def test_tables(tok, tmp_path):
    rows = [{"prompt": "2+2", "completion": "4", "weight": 1.0}, {"prompt": "3+3", "completion": "6", "weight": None}]
    expected = qwensft.Dataset(tok, rows)
    table = pandas.DataFrame(rows)
    assert same(expected, qwensft.Dataset(tok, table))
    nested = pandas.DataFrame({"messages": [np.array(row, dtype=object) for row in CONVERSATIONS]})
    assert same(qwensft.Dataset(tok, CONVERSATIONS), qwensft.Dataset(tok, nested))
    assert same(expected, qwensft.Dataset(tok, pyarrow.Table.from_pylist(rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    assert same(expected, qwensft.Dataset(tok, tmp_path / "data.parquet"))


def test_data_sets_of_hugging_face(tok):
    rows = [{"messages": row} for row in CONVERSATIONS]
    data = datasets.Dataset.from_list(rows)
    assert same(qwensft.Dataset(tok, CONVERSATIONS), qwensft.Dataset(tok, data))
    with pytest.raises(TypeError, match="conversations is DatasetDict, expected rows; choose one of its parts: 'train'"):
        qwensft.Dataset(tok, datasets.DatasetDict({"train": data}))


def test_parquet_needs_pyarrow(tok, monkeypatch):
    def refuse(name, *arguments, real=builtins.__import__):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"data.parquet: reading Parquet needs pyarrow \(pip install pyarrow\)"):
        qwensft.Dataset(tok, "data.parquet")


class Broken:
    def __iter__(self):
        yield CONVERSATIONS[0]
        raise OSError("the disk is gone")


@pytest.mark.parametrize(
    "rows, error, message",
    [
        (5, TypeError, "conversations is int, expected a path or rows"),
        (b"x", TypeError, "conversations is bytes, expected a path or rows"),
        ({"a": 1}, TypeError, "conversations is dict, expected rows; choose one of its parts: 'a'"),
        (["x"], TypeError, "row 0 is str, expected a list of messages or a dict"),
        ([], ValueError, "conversations: holds no conversation"),
        ([["x"]], ValueError, "row 0: message 0 must be an object, not a string"),
        ([{"messages": "x"}], ValueError, "row 0: 'messages' must be a list of messages, not a string"),
        ([CONVERSATIONS[0], [{"role": "user"}]], ValueError, "row 1: message 0: 'content' is missing; found 'role'"),
        ([conversation("\ud800", "")], ValueError, "row 0 holds a lone surrogate"),
        ([conversation(object(), "")], ValueError, "row 0 cannot be written as JSON: object is no JSON value"),
        (Broken(), OSError, "the disk is gone"),
    ],
)
def test_refused_rows(tok, rows, error, message):
    with pytest.raises(error, match=message):
        qwensft.Dataset(tok, rows)
