import gc
import json
import pickle
import warnings

import ml_dtypes
import numpy as np
import pytest

import qwensft


def test_arrays(tok, conversation):
    batch = qwensft.preprocess(tok, [conversation, conversation[1:]])
    rows, columns = batch.shape
    assert rows == 2
    for array in (batch.input_ids, batch.labels, batch.attention_mask):
        assert array.dtype == np.int64 and array.shape == (2, columns) and not array.flags.writeable
    assert batch.input_ids[0].tolist() == tok.apply_chat_template(conversation, tokenize=True)
    real = batch.attention_mask[1].sum()
    assert real < columns
    assert (batch.labels[1, real:] == -100).all() and (batch.attention_mask[1, real:] == 0).all()
    learned = batch.labels != -100
    assert (batch.labels[learned] == batch.input_ids[learned]).all()
    assert "2 rows" in repr(batch)


def supervised_text(tok, batch, row=0):
    return tok.decode(batch.labels[row][batch.labels[row] != -100])


@pytest.mark.parametrize(
    "policy, text",
    [
        ("qwen", "<|im_start|><|im_end|>\n<|im_start|><|im_end|>\n<|im_start|>2+2等于5。<|im_end|>\n"),
        ("assistant", "2+2等于5。<|im_end|>"),
        ("assistant_content", "2+2等于5。"),
        ("assistant_newline", "2+2等于5。<|im_end|>\n"),
        ("last_assistant", "2+2等于5。<|im_end|>"),
    ],
)
def test_label_policies(tok, conversation, policy, text):
    assert supervised_text(tok, qwensft.preprocess(tok, [conversation], label_policy=policy)) == text


@pytest.mark.parametrize("weight", ["much", [1]])
def test_weight_that_is_no_number(tok, weight):
    message = {"role": "assistant", "content": "a", "weight": weight}
    with pytest.raises(ValueError, match=r"batch_messages\[0\]\[0\]\['weight'\] is .*, expected a number"):
        qwensft.preprocess(tok, [[message]])


def test_messages_are_as_in_json_lines(tok, conversation, tmp_path):
    nulls = [{**message, "weight": None, "name": None, "tool_calls": [], 7: None} for message in conversation]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = qwensft.preprocess(tok, [nulls])
    assert batch.input_ids.tolist() == qwensft.preprocess(tok, [conversation]).input_ids.tolist()

    named = [{**message, "name": "Ann", "id": 1} for message in conversation]
    with pytest.warns(qwensft.QwenSFTWarning) as heard:
        batch = qwensft.preprocess(tok, [conversation, named, named])
    assert {str(warning.message) for warning in heard} == {
        "batch_messages: the key 'id' is not used (6 times, first in batch_messages[1][0])"
    }
    assert (batch.input_ids == batch.input_ids[0]).all()
    with pytest.warns(qwensft.QwenSFTWarning, match=r"messages: the key 'id' is not used \(1 times, first in messages\[0\]\)"):
        tok.apply_chat_template([{**conversation[0], "id": 1}])

    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [{k: v for k, v in m.items() if k != 7} for m in nulls], "tools": []}))
    assert len(qwensft.Dataset(tok, path)) == 1


def test_weight(tok, conversation):
    first = [*conversation[:2], {**conversation[2], "weight": 0}, *conversation[1:]]
    batch = qwensft.preprocess(tok, [first], label_policy="assistant")
    assert supervised_text(tok, batch) == "2+2等于5。<|im_end|>"


def test_max_length(tok, conversation):
    with pytest.warns(qwensft.QwenSFTWarning, match="^1 of 2 conversations were cut to 20 tokens; the rest of them is not"):
        assert qwensft.preprocess(tok, [conversation, conversation[1:2]], label_policy="all", max_length=20).shape == (2, 20)
    with pytest.raises(ValueError, match="max_length is 0, expected None or at least 1"):
        qwensft.preprocess(tok, [conversation], max_length=0)


def test_refusals(tok, conversation):
    with pytest.raises(qwensft.NoSupervisedTokensError, match="1"):
        qwensft.preprocess(tok, [conversation, conversation[:2]], label_policy="assistant")
    with pytest.raises(ValueError):
        qwensft.preprocess(tok, [])
    with pytest.raises(ValueError):
        qwensft.preprocess(tok, [[]])
    with pytest.raises(ValueError, match="label_policy is 'all_of_it', expected one of 'qwen', 'assistant'"):
        qwensft.preprocess(tok, [conversation], label_policy="all_of_it")
    with pytest.raises(ValueError, match=r"batch_messages\[1\]\[0\] has no 'role'"):
        qwensft.preprocess(tok, [conversation, [{"content": "a"}]])
    with pytest.raises(TypeError, match=r"batch_messages\[0\] is dict, expected a list"):
        qwensft.preprocess(tok, conversation)


def test_own_arrays():
    batch = qwensft.Batch([[1, 2, 3]], np.array([[-100, 2, 3]], dtype=np.int32), token_weights=[[0, 1, 0.5]])
    assert batch.attention_mask.tolist() == [[1, 1, 1]]
    assert batch.token_weights.tolist() == [[0, 1, 0.5]]
    assert qwensft.Batch([[1, 2]], [[1, 2]]).token_weights is None
    with pytest.raises(ValueError, match=r"labels has shape \(1, 2\), expected \(1, 3\) as input_ids"):
        qwensft.Batch([[1, 2, 3]], [[1, 2]])
    with pytest.raises(ValueError, match="input_ids has 1 dimensions, expected 2"):
        qwensft.Batch([1], [1])
    with pytest.raises(ValueError, match="input_ids holds float64"):
        qwensft.Batch([[1.5]], [[1]])
    with pytest.raises(ValueError, match="-7"):
        qwensft.Batch([[1, 2]], [[1, -7]])
    with pytest.raises(ValueError, match="mask"):
        qwensft.Batch([[1, 2, 3]], [[-100, -100, -100]], [[1, 0, 1]])


def test_arrays_outlive_the_batch(tok, conversation):
    batch = qwensft.preprocess(tok, [conversation])
    ids, copy = batch.input_ids, batch.input_ids.copy()
    batch.close()
    del batch
    gc.collect()
    assert (ids == copy).all()


class Tensor:
    """What torch's bfloat16 tensors do: there is no numpy array of them."""

    def __init__(self, values, dtype="torch.bfloat16"):
        self.values, self.dtype = values, dtype

    def detach(self):
        return self

    cpu = detach

    def float(self):
        return Tensor(self.values, "torch.float32")

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.values, dtype=np.float32)


@pytest.mark.parametrize("make", [Tensor, lambda values: np.asarray(values, dtype=ml_dtypes.bfloat16)])
def test_bfloat16(make, model, tok):
    ids = [[1, 2, 3]]
    batch = qwensft.Batch(ids, ids, token_weights=make([[1.0, 0.5, 0.25]]))
    assert batch.token_weights.tolist() == [[1.0, 0.5, 0.25]]
    name, values = next(iter(model.named_parameters()))
    model.set_parameter(name, make(np.full(values.shape, 0.125)))
    assert next(iter(model.named_parameters()))[1].max() == 0.125
    assert qwensft.LossCurve(make([2.0, 1.0])).losses == [2.0, 1.0]
    with pytest.raises(ValueError, match="expected numbers that fit int64"):
        qwensft.Batch(make([[1.0]]), [[1]])


def test_conversations_as_rows_of_a_data_set(tok, conversation):
    rows = [{"messages": conversation}, {"messages": conversation}]
    expected = qwensft.preprocess(tok, [conversation, conversation])
    assert np.array_equal(qwensft.preprocess(tok, rows).labels, expected.labels)
    assert str(qwensft.Dataset(tok, iter(rows)).report) == str(qwensft.Dataset(tok, [conversation, conversation]).report)
    assert len(qwensft.Dataset(tok, [{"messages": conversation, "tools": [], "id": None}])) == 1
    template = "{{ tools | tojson if tools }}{% for m in messages %}{{ m.content }}{% endfor %}"
    conversation = [*conversation[:-1], {**conversation[-1], "content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]}]
    batch = qwensft.preprocess(
        tok, [{"messages": conversation, "tools": [{"name": "f"}]}], label_policy="all", chat_template=template
    )
    text = tok.decode(batch.input_ids[0].tolist())
    assert text.startswith('[{"name": "f"}]') and text.endswith("42")
    with pytest.raises(TypeError, match=r"batch_messages\[0\]\['tools'\] is str, expected a list"):
        qwensft.preprocess(tok, [{"messages": conversation, "tools": "f"}])
    more = [rows[0], {"messages": conversation, "source": "web"}, {"messages": conversation, "source": "web", "id": 3}]
    with pytest.warns(qwensft.QwenSFTWarning) as warned:
        assert len(qwensft.Dataset(tok, more)) == 3
    assert sorted(str(warning.message) for warning in warned) == [
        "conversations: the key 'id' is not used (1 times, first in row 2)",
        "conversations: the key 'source' is not used (2 times, first in row 1)",
    ]
    with pytest.raises(TypeError, match=r"batch_messages\[0\] is dict, expected a list of messages, or a dict with one under"):
        qwensft.preprocess(tok, [{"conversations": conversation}])
    with pytest.raises(TypeError, match=r"batch_messages\[0\]\['messages'\] is str"):
        qwensft.preprocess(tok, [{"messages": "hello"}])


def test_left_padding(tok, model):
    """Rows keep where their tokens stand; padding is no part of what is computed."""
    ids, left = [[5, 6, 7, 0], [8, 9, 10, 11]], [[0, 5, 6, 7], [8, 9, 10, 11]]
    right_mask, left_mask = [[1, 1, 1, 0], [1] * 4], [[0, 1, 1, 1], [1] * 4]
    right = qwensft.Batch(ids, [[-100, 6, 7, -100], [-100, 9, 10, 11]], right_mask)
    other = qwensft.Batch(left, [[-100, -100, 6, 7], [-100, 9, 10, 11]], left_mask)
    assert other.input_ids.tolist() == left and other.attention_mask.tolist() == left_mask
    trainer = qwensft.Trainer(model)
    assert trainer.evaluate(right).loss == trainer.evaluate(other).loss
    losses = trainer.token_losses(other)
    assert np.isnan(losses[0, :2]).all() and (losses[0, 2:] == trainer.token_losses(right)[0, 1:3]).all()
    assert (trainer.row_losses(other) == trainer.row_losses(right)).all()
    logits = model.forward(left, left_mask)
    assert (logits[0, 0] == 0).all() and (logits[0, 1:] == model.forward(ids, right_mask)[0, :3]).all()
    with pytest.raises(qwensft.InvalidArgumentError, match="row 0, position 2: a 1 after 1s and 0s"):
        qwensft.Batch(ids, [[-100] * 4] * 2, [[1, 0, 1, 1], [1] * 4])


def test_arrays_are_made_when_asked_for(tok):
    batch = qwensft.Batch([[5, 6, 7]], [[-100, 6, 7]])
    labels = batch.labels
    batch.close()
    gc.collect()
    assert labels.tolist() == [[-100, 6, 7]]
    other = qwensft.Batch([[5, 6, 7]], [[-100, 6, 7]])
    other.close()
    with pytest.raises(ValueError, match="closed"):
        other.labels


def test_answers_that_a_template_rewrites(tok):
    """A template that leaves the reasoning of earlier answers out: one row for each answer, learned as it was given."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.last and m.reasoning_content %}<{{ m.reasoning_content }}>{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    turns = [
        {"role": "user", "content": "1+1"},
        {"role": "assistant", "content": "2", "reasoning_content": "1 and 1"},
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"},
    ]
    plain = [{"role": "user", "content": "3+3"}, {"role": "assistant", "content": "6"}]
    batch = qwensft.preprocess(tok, [turns, plain], label_policy="assistant", chat_template=template)
    assert batch.conversation_of_row.tolist() == [0, 0, 1]
    answers = [tok.decode([id for id in row if id >= 0]) for row in batch.labels.tolist()]
    assert answers == ["<1 and 1>2<|im_end|>", "<2 and 2>4<|im_end|>", "6<|im_end|>"]
    for row, count in ((0, 1), (1, 3)):
        prompt = tok.apply_chat_template(turns[:count], chat_template=template, tokenize=True, add_generation_prompt=True)
        assert batch.input_ids[row, : len(prompt)].tolist() == prompt
    copy = pickle.loads(pickle.dumps(batch))
    assert copy.conversation_of_row.tolist() == [0, 0, 1]
    with pytest.raises(NotImplementedError, match="the label policy 'generation' has no meaning"):
        qwensft.preprocess(tok, [plain], label_policy="generation")
