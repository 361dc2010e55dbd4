"""Answers: streaming, stopping, samples, probabilities."""

import inspect
import pydoc
import threading

import numpy as np
import pytest

import qwensft

GREEDY = {"do_sample": False, "repetition_penalty": 1.0, "max_new_tokens": 32}
QUESTION = "2+2等于几"


def test_streaming(model, tok):
    whole = model.chat(tok, QUESTION, **GREEDY)
    pieces = list(model.stream_chat(tok, QUESTION, **GREEDY))
    assert "".join(pieces) == whole and len(pieces) > 1 and all(pieces)
    seen = []
    assert model.chat(tok, QUESTION, on_text=seen.append, **GREEDY) == whole and seen == pieces
    cut = model.replies(tok, QUESTION, on_text=lambda text: True, **GREEDY)[0]
    assert (cut.text, cut.finish_reason) == (pieces[0], "cancelled")


def test_leaving_a_stream_frees_the_model(model, tok):
    for piece in model.stream_chat(tok, QUESTION, **GREEDY):
        break
    assert piece and model.chat(tok, QUESTION, **GREEDY)
    with pytest.raises(ValueError, match="max_new_tokens is -1, expected at least 0"):
        list(model.stream_chat(tok, QUESTION, max_new_tokens=-1))


def test_stopping(model, tok):
    answer = model.replies(tok, QUESTION, stop_strings=["2等"], **GREEDY)[0]
    assert (answer.text, answer.finish_reason) == ("2+", "stop_string")
    first = answer.ids[0]
    answer = model.replies(tok, QUESTION, stop_ids=[first], **GREEDY)[0]
    assert (answer.ids, answer.finish_reason) == ([first], "stop_id")
    answer = model.replies(tok, QUESTION, **{**GREEDY, "max_new_tokens": 2})[0]
    assert len(answer.ids) == 2 and answer.finish_reason == "length"
    assert answer.prompt_tokens == answer.computed_prompt_tokens > 5


def test_stopping_from_another_thread(model, tok):
    def stop(text):
        thread = threading.Thread(target=model.stop_generating)
        thread.start()
        thread.join()

    answer = model.replies(tok, QUESTION, on_text=stop, **GREEDY)[0]
    assert answer.finish_reason == "cancelled" and len(answer.ids) < 5


def test_samples(model, tok):
    sampled = dict(do_sample=True, temperature=3.0, top_k=0, top_p=1.0, seed=7, max_new_tokens=8)
    answers = model.replies(tok, QUESTION, num_return_sequences=3, **sampled)
    assert len(answers) == 3 and len({answer.text for answer in answers}) > 1
    assert [answers[0].ids] == [answer.ids for answer in model.replies(tok, QUESTION, **sampled)]
    assert answers[1].ids == model.replies(tok, QUESTION, **{**sampled, "seed": 8})[0].ids
    everything = {**sampled, "top_k": 2**32 + 1}  # not cut to 1
    assert model.generate([1, 2], **everything) == model.generate([1, 2], **sampled)
    greedy = model.generate([1, 2], **GREEDY)
    assert model.generate([1, 2], **{**sampled, "min_p": 1.0, "repetition_penalty": 1.0, "max_new_tokens": 32}) == greedy


def test_log_probabilities(model, tok):
    prompt = tok.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=True, add_generation_prompt=True)
    answer = model.generations(prompt, log_probabilities=True, **GREEDY)[0]
    logits = model.forward([prompt + answer.ids])[0, len(prompt) - 1 : -1].astype(np.float64)
    expected = [row[id] - np.log(np.exp(row - row.max()).sum()) - row.max() for row, id in zip(logits, answer.ids)]
    np.testing.assert_allclose(answer.log_probabilities, expected, atol=1e-3)
    assert answer.text == "" and model.generations(prompt, **GREEDY)[0].log_probabilities is None


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"temperature": -1.0}, ValueError, "temperature is -1.0, expected None or at least 0"),
        ({"min_p": 2.0}, ValueError, "min_p must be at least 0 and at most 1"),
        ({"num_return_sequences": 0}, ValueError, "num_return_sequences is 0, expected at least 1"),
        ({"max_new_tokens": 1.5}, TypeError, "max_new_tokens is float, expected int"),
        ({"stop_ids": [-1]}, ValueError, r"stop_ids\[0\] is -1"),
        ({"stop_strings": "abc"}, TypeError, "stop_strings is str, expected a list"),
        ({"stop_strings": [""]}, ValueError, "stop_strings: an empty text stands everywhere"),
        ({"num_beams": 4}, TypeError, "^'num_beams' is no option of generation; there are max_new_tokens, do_sample"),
        ({"stop": "."}, TypeError, "did you mean 'stop_ids' or 'stop_strings'"),
        ({"max_tokens": 1}, TypeError, "^'max_tokens' is no option of generation; did you mean 'max_new_tokens'\\?$"),
    ],
)
def test_bad_options(model, tok, options, error, message):
    with pytest.raises(error, match=message):
        model.chat(tok, QUESTION, **options)


def test_decoder(tok):
    text = "a👩‍👩‍👧 等<|im_end|>"
    ids = tok.encode(text)
    decoder = tok.decoder()
    pieces = [decoder.append(id) for id in ids]
    assert "".join(pieces) + decoder.finish() == text and "" in pieces
    skipping = tok.decoder(skip_special_tokens=True)
    assert "".join(skipping.append(id) for id in ids) == text.replace("<|im_end|>", "")
    half = next(id for id in ids if tok.decode([id]) == "\ufffd")
    assert decoder.append(half) == "" and decoder.finish() == "\ufffd" and decoder.finish() == ""
    with pytest.raises(ValueError, match="'id' is -1, expected a token id"):
        decoder.append(-1)


def test_help_lists_the_options():
    model = qwensft.Model
    for function in (model.chat, model.generate, model.replies, model.generations, model.stream_chat, model.session):
        text = pydoc.plain(pydoc.render_doc(function))
        for name in qwensft.GenerationOptions.__annotations__:
            assert f"    {name}: " in text, f"{function.__name__} does not list {name}"
    for function in (qwensft.Session.send, qwensft.Session.reply, qwensft.Session.stream):
        assert "max_new_tokens: " in function.__doc__
    known = set(inspect.signature(qwensft.generation._request).parameters) - {"stop"}
    assert known == set(qwensft.GenerationOptions.__annotations__)


def test_parts_of_an_answer(tok, model):
    """Without marks everything is content; a message goes on with the conversation."""
    answer = model.replies(tok, "2+2等于几", do_sample=False, repetition_penalty=1.0, tools=[], enable_thinking=False)[0]
    assert (answer.content, answer.reasoning_content, answer.tool_calls) == (answer.text, None, [])
    assert answer.message == {"role": "assistant", "content": answer.text}
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ x }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    asked = model.chat(tok, "2+2", chat_template=template, chat_template_kwargs={"x": "等于几"}, do_sample=False, max_new_tokens=8)
    assert asked == model.chat(tok.with_chat_template(template), "2+2等于几", do_sample=False, max_new_tokens=8)
