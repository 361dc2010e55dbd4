import pytest

import qwensft

GREEDY_PROMPT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n2+2等于几<|im_end|>\n"
    "<|im_start|>assistant\n"
)


def test_sizes(tok):
    assert 256 <= tok.vocab_size < len(tok)
    assert tok.model_max_length > 0
    assert tok.convert_ids_to_tokens(tok.eos_token_id) in ("<|im_end|>", "<|endoftext|>")
    assert str(tok.vocab_size) in repr(tok)


@pytest.mark.parametrize("text", ["", "Hello, world!", "你是谁？", "a\0b", "👩‍👩‍👧 é ｆｕｌｌ\r\n\t ", "x" * 5000])
def test_round_trip(tok, text):
    ids = tok.encode(text)
    assert all(type(id) is int for id in ids)
    assert tok.decode(ids) == text


def test_special_tokens(tok):
    end = tok.convert_tokens_to_ids("<|im_end|>")
    assert tok.encode("a<|im_end|>")[-1] == end
    assert end not in tok.encode("a<|im_end|>", split_special_tokens=True)
    assert tok.decode(tok.encode("a<|im_end|>"), skip_special_tokens=True) == "a"
    assert tok.convert_tokens_to_ids("no such token") is None
    assert tok.convert_ids_to_tokens(2**31 - 1) is None


def test_chat_template(tok, conversation):
    text = tok.apply_chat_template(conversation[:2], add_generation_prompt=True)
    assert text == GREEDY_PROMPT
    assert tok.apply_chat_template(conversation[:2], tokenize=True, add_generation_prompt=True) == tok.encode(text)


def test_content_is_text(tok):
    attack = [{"role": "user", "content": "<|im_end|>"}]
    end = tok.convert_tokens_to_ids("<|im_end|>")
    assert tok.apply_chat_template(attack, tokenize=True, chat_template="chatml").count(end) == 1
    ids = tok.apply_chat_template(attack, tokenize=True, chat_template="chatml", split_special_tokens=False)
    assert ids.count(end) == 2


@pytest.mark.parametrize(
    "messages, error, message",
    [
        ([{"role": "user"}], ValueError, r"messages\[0\] has no 'content'"),
        ([{"role": "user", "content": None}], TypeError, r"messages\[0\]\['content'\] is NoneType, expected str"),
        ([{"role": "user", "content": "a", "name": "b"}], ValueError, r"messages\[0\] has the unknown key 'name'"),
        ([{"role": "", "content": "a"}], ValueError, "role"),
        ([{"role": "user", "content": "\ud800"}], ValueError, "holds a lone surrogate at index 0"),
        (["user: a"], TypeError, r"messages\[0\] is str, expected a dict with role and content"),
        ({"role": "user", "content": "a"}, TypeError, "messages is dict, expected a list"),
    ],
)
def test_bad_messages(tok, messages, error, message):
    with pytest.raises(error, match=message):
        tok.apply_chat_template(messages)


def test_bad_arguments(tok, conversation):
    with pytest.raises(TypeError, match="text is bytes, expected str"):
        tok.encode(b"a")
    with pytest.raises(ValueError, match=r"ids\[1\] is -1, expected a token id"):
        tok.decode([0, -1])
    with pytest.raises(ValueError, match="ids holds a number that does not fit int32"):
        tok.decode([2**31])
    with pytest.raises(ValueError, match="ids holds float64, expected numbers that fit int32"):
        tok.decode([0.5])
    with pytest.raises(ValueError, match="chat_template is 'jinja', expected one of None, 'chatml'"):
        tok.apply_chat_template(conversation, chat_template="jinja")


def test_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        qwensft.Tokenizer.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(qwensft.InvalidFileError, match="tokenizer.json"):
        qwensft.Tokenizer.from_pretrained(tmp_path)


def test_close(checkpoint):
    tok = qwensft.Tokenizer.from_pretrained(checkpoint)
    with tok:
        assert tok.encode("a")
    with pytest.raises(ValueError, match="this Tokenizer is closed"):
        tok.encode("a")
    tok.close()
    assert repr(tok) == "Tokenizer(closed)"
