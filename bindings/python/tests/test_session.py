"""Conversations of several turns."""

import threading

import pytest

import qwensft

GREEDY = {"do_sample": False, "repetition_penalty": 1.0, "max_new_tokens": 24}
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}


@pytest.fixture
def session(model, tok):
    return model.session(tok, [SYSTEM], **GREEDY)


def test_turns_are_those_of_chat(session, model, tok):
    messages = [SYSTEM]
    for question in ("2+2等于几", "3+3等于几", "你好"):
        reply = session.reply(question)
        messages.append({"role": "user", "content": question})
        assert reply.text == model.chat(tok, messages, **GREEDY)
        messages.append({"role": "assistant", "content": reply.text})
        assert session.messages == messages
    # The last turn's own tokens only, and the newline that closes the turn before.
    assert reply.computed_prompt_tokens < reply.prompt_tokens / 2


def test_going_back_and_resetting(session):
    first = session.send("2+2等于几")
    session.send("3+3等于几")
    assert session.go_back() and len(session.messages) == 3
    assert session.go_back() and session.messages == [SYSTEM]
    assert not session.go_back()
    assert session.send("2+2等于几") == first
    session.reset()
    assert session.messages == [SYSTEM] and session.send("2+2等于几") == first


def test_the_messages_are_all_that_the_model_saw(model, tok):
    session = model.session(tok, **GREEDY)
    assert session.messages == [SYSTEM]  # the template's own
    reply = session.reply("2+2等于几")
    batch = qwensft.preprocess(tok, [session.messages])
    assert batch.input_ids[0, reply.prompt_tokens :].tolist() == [*reply.ids, *tok.encode("\n")]
    prompt = tok.apply_chat_template([{"role": "user", "content": "2+2等于几"}], tokenize=True, add_generation_prompt=True)
    assert batch.input_ids[0, : reply.prompt_tokens].tolist() == prompt
    plain = model.session(tok, chat_template="chatml")
    assert plain.messages == []


def test_answers_from_elsewhere(session, model, tok):
    session.append({"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "4"})
    session.replace_answer("2+2等于4。")
    question = {"role": "user", "content": "3+3等于几"}
    reply = session.reply(question["content"])
    said = [SYSTEM, {"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于4。"}, question]
    assert session.messages[:-1] == said and reply.text == model.chat(tok, said, **GREEDY)
    session.replace_answer(reply.text + "!")
    assert session.messages[-1]["content"] == reply.text + "!"
    assert session.reply("你好").computed_prompt_tokens < reply.prompt_tokens
    assert session.go_back() and session.go_back() and session.go_back() and session.messages == [SYSTEM]
    with pytest.raises(ValueError, match="does not end with an answer"):
        session.replace_answer("a")
    with pytest.raises(ValueError, match="message 1: the role is empty"):
        session.append({"role": "", "content": "a"})
    assert session.messages == [SYSTEM]


def test_training_empties_the_cache(session, model, tok):
    session.send("你好")
    turn = [SYSTEM, {"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于5。"}]
    batch = qwensft.preprocess(tok, [turn], label_policy="assistant")
    trainer = qwensft.Trainer(model, qwensft.SGD(lr=1e-2))
    for _ in range(12):
        trainer.step(batch)
    session.reset()
    reply = session.reply("2+2等于几")
    assert reply.text == "2+2等于5。" and reply.computed_prompt_tokens == reply.prompt_tokens


def test_streaming_and_stopping(session):
    pieces = list(session.stream("2+2等于几"))
    assert len(pieces) > 1 and "".join(pieces) == session.messages[-1]["content"]
    session.reset()
    for piece in session.stream("2+2等于几"):
        break
    assert session.messages[-1]["content"].startswith(piece)
    session.reset()
    reply = session.reply("2+2等于几", on_text=lambda text: session.stop())
    assert reply.finish_reason == "cancelled" and session.messages[-1]["content"] == reply.text


def test_stopping_from_another_thread(session):
    def stop_elsewhere(text):
        thread = threading.Thread(target=session.stop)
        thread.start()
        thread.join()

    reply = session.reply("2+2等于几", on_text=stop_elsewhere)
    assert reply.finish_reason == "cancelled" and session.messages[-1]["content"] == reply.text
    session.go_back()
    assert session.reply("2+2等于几").finish_reason == "stop_id"  # a stop is for one answer


def test_busy(session):
    seen = []

    def use_it_elsewhere(text):
        def other():
            try:
                session.send("a")
            except qwensft.BusyError as error:
                seen.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    session.send("2+2等于几", on_text=use_it_elsewhere)
    assert set(seen) == {"the session is in use on another thread"} and len(session.messages) == 3


def test_a_failing_callback_leaves_the_conversation_as_it_was(session):
    session.send("2+2等于几")
    before = session.messages
    with pytest.raises(ZeroDivisionError):
        session.send("3+3等于几", on_text=lambda text: 1 / 0)
    assert session.messages == before


def test_refusals(session, model, tok):
    with pytest.raises(TypeError, match="content is int, expected str"):
        session.send(1)
    with pytest.raises(ValueError, match="num_return_sequences must be 1 in a session"):
        session.send("a", num_return_sequences=2)
    with pytest.raises(TypeError, match="did you mean 'max_new_tokens'"):
        session.send("a", max_tokens=2)
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        list(session.stream("a", temprature=2))
    with pytest.raises(qwensft.TooLongError, match="go back or begin anew"):
        session.send("2 " * model.config.max_position_embeddings)
    assert session.messages == [SYSTEM]
    with pytest.raises(ValueError, match="the checkpoint has no chat template called 'jinja'"):
        model.session(tok, chat_template="jinja")
    with pytest.raises(TypeError, match="num_beams"):
        model.session(tok, num_beams=2)
    session.close()
    with pytest.raises(ValueError, match="this Session is closed"):
        session.send("a")
