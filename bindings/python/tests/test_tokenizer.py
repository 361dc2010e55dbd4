import base64
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
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
        ([{"role": "user", "content": "a", "name": {1}}], ValueError, r"messages\[0\] cannot be written as JSON"),
        ([{"role": "", "content": "a"}], ValueError, "role"),
        ([{"role": "user", "content": "\ud800"}], ValueError, "holds a lone surrogate at index 0"),
        (["user: a"], TypeError, r"messages\[0\] is str, expected a dict with role and content"),
        ({"role": "user", "content": "a"}, TypeError, "messages is dict, expected a list"),
    ],
)
def test_bad_messages(tok, messages, error, message):
    with pytest.raises(error, match=message):
        tok.apply_chat_template(messages)


def test_templates_of_ones_own(tok):
    messages = [{"role": "user", "content": "a", "name": "B<|im_end|>"}]
    template = "{% for m in messages %}<|im_start|>{{ m.name }}:{{ m.content }}{{ mark }}{{ tools | tojson }}{% endfor %}"
    text = tok.apply_chat_template(messages, chat_template=template, tools=[{"name": "f"}], mark=1.5)
    assert text == '<|im_start|>B<|im_end|>:a1.5[{"name": "f"}]'
    ids = tok.apply_chat_template(messages, chat_template=template, tokenize=True)
    assert tok.decode(ids) == "<|im_start|>B<|im_end|>:anull"
    special = {token.id for token in tok.added_tokens}
    assert [id for id in ids if id in special] == tok.convert_tokens_to_ids(["<|im_start|>"])
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
    assert tok.apply_chat_template([call], chat_template="{{ messages[0].tool_calls[0].name }}{{ messages[0].content }}") == "f"
    other = tok.with_chat_template("{{ messages[0].content }}{{ x }}", x="y")
    assert other.apply_chat_template(messages) == "ay" and other.encode("a") == tok.encode("a")
    again = pickle.loads(pickle.dumps(other))
    assert again.apply_chat_template(messages) == "ay"
    with pytest.raises(ValueError, match="the chat template refuses the conversation: no"):
        tok.apply_chat_template(messages, chat_template="{{ raise_exception('no') }}")
    with pytest.raises(ValueError, match="chat template, line 1: 'x' is undefined"):
        tok.apply_chat_template(messages, chat_template="{{ x.y }}")


def test_bad_arguments(tok, conversation):
    with pytest.raises(TypeError, match="text is bytes, expected str"):
        tok.encode(b"a")
    with pytest.raises(ValueError, match=r"ids\[1\] is -1, expected a token id"):
        tok.decode([0, -1])
    with pytest.raises(ValueError, match="ids holds a number that does not fit int32"):
        tok.decode([2**31])
    with pytest.raises(ValueError, match="ids holds float64, expected numbers that fit int32"):
        tok.decode([0.5])
    with pytest.raises(ValueError, match="the checkpoint has no chat template called 'jinja'"):
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


TEXTS = ["2+2等于几", "", "Hello, world!", "<|im_end|>"]


def test_batch_encoding(tok):
    rows = [tok.encode(text) for text in TEXTS]
    longest = max(map(len, rows))
    lists = tok(TEXTS)
    assert lists == {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    padded = tok(TEXTS, padding=True)
    assert list(padded) == ["input_ids", "attention_mask"]
    for name in padded:
        assert padded[name].shape == (4, longest) and padded[name].dtype == np.int64
    for row, ids, mask in zip(rows, padded["input_ids"], padded["attention_mask"]):
        assert ids.tolist() == row + [tok.pad_token_id] * (longest - len(row))
        assert mask.tolist() == [1] * len(row) + [0] * (longest - len(row))
    assert tok("2+2等于几") == {"input_ids": rows[0], "attention_mask": [1] * len(rows[0])}
    assert tok([]) == {"input_ids": [], "attention_mask": []}
    assert tok.convert_tokens_to_ids("<|im_end|>") not in tok(TEXTS, split_special_tokens=True)["input_ids"][3]


def test_ids_as_arrays(tok):
    rows = [tok.encode(text) for text in TEXTS]
    found = tok(TEXTS, as_arrays=True)
    assert [row.tolist() for row in found["input_ids"]] == rows
    assert [mask.tolist() for mask in found["attention_mask"]] == [[1] * len(row) for row in rows]
    for row, text in zip(rows, TEXTS):
        alone = tok.encode(text, as_array=True)
        assert alone.dtype == np.int32 and alone.tolist() == row and alone.flags.owndata
        assert tok(text, as_arrays=True)["input_ids"].tolist() == row
    found["input_ids"][0][:] = 7  # nobody else's
    assert found["input_ids"][2].tolist() == rows[2] and not found["attention_mask"][2].flags.writeable
    assert tok.encode(TEXTS[0], as_array=True).tolist() == rows[0]
    cut = tok(TEXTS, as_arrays=True, truncation=True, max_length=2)["input_ids"]
    assert [row.tolist() for row in cut] == [row[:2] for row in rows]
    assert tok([], as_arrays=True) == {"input_ids": [], "attention_mask": []}
    large = "Hello, world! " * 5000  # more than the memory that is kept
    assert tok.encode(large, as_array=True).tolist() == tok([large, "a"])["input_ids"][0]
    # U+1D160 is 4 bytes, and 12 in NFC: more ids than bytes, and than the first guess of how many there may be.
    grows = "\U0001d160" * 100
    assert len(tok.encode(grows)) > 4 * 100 + 8 and tok([grows])["input_ids"][0] == tok.encode(grows)


def test_threads_encode_texts_of_their_own(tok):
    texts = [[f"{name} {i} 2+2等于几" * 50 for i in range(40)] for name in "abcd"]
    expected = [[tok.encode(text) for text in part] for part in texts]
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda part: [tok.encode(text, as_array=True).tolist() for text in part], texts))
        together = list(pool.map(lambda part: tok(part)["input_ids"], texts))
    assert alone == expected and together == expected


def test_truncation_and_padding(tok):
    text = "Hello, world! " * 20
    ids = tok.encode(text)
    assert tok.encode(text, truncation=True, max_length=7) == ids[:7] and tok.encode(text, max_length=7) == ids
    assert tok(text, truncation=True, max_length=7)["input_ids"] == ids[:7]
    assert tok([text, "a"], padding=True, truncation=True, max_length=7)["attention_mask"].sum(1).tolist() == [7, 1]
    assert tok(["a"], padding="max_length", max_length=9)["input_ids"].shape == (1, 9)
    assert tok([text], padding="max_length", max_length=9)["input_ids"].shape == (1, len(ids))
    assert tok(["a"], padding="longest", pad_to_multiple_of=8)["input_ids"].shape == (1, 8)
    assert len(tok("a " * tok.model_max_length, truncation=True)["input_ids"]) == tok.model_max_length
    assert tok([""], padding=True)["attention_mask"].tolist() == [[0]]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"text": 3}, TypeError, "text is int, expected a list"),
        ({"text": ["a", 3]}, TypeError, r"text\[1\] is int, expected str"),
        ({"text": ["a", "\ud800"]}, ValueError, r"text\[1\] holds a lone surrogate at index 0"),
        ({"text": "a", "padding": "left"}, ValueError, "padding is 'left', expected True, False"),
        ({"text": "a", "max_length": 0}, ValueError, "max_length is 0, expected None or at least 1"),
        ({"text": "a", "max_length": "b"}, TypeError, "max_length is str, expected int"),
        ({"text": "a", "padding": True, "pad_to_multiple_of": 0}, ValueError, "pad_to_multiple_of is 0"),
    ],
)
def test_bad_encoding_arguments(tok, arguments, error, message):
    with pytest.raises(error, match=message):
        tok(**arguments)


def test_batch_decode(tok):
    assert tok.batch_decode([tok.encode(text) for text in TEXTS]) == TEXTS
    assert tok.batch_decode(tok(TEXTS, padding=True)["input_ids"], skip_special_tokens=True) == [*TEXTS[:3], ""]
    with pytest.raises(ValueError, match="ids has 0 dimensions, expected 1"):
        tok.batch_decode([1, 2])


def test_lookups(tok):
    ids = tok.encode("Hello, world!<|im_end|>")
    tokens = tok.convert_ids_to_tokens(ids)
    assert tokens[-1] == "<|im_end|>" and "".join(tokens).replace("Ġ", " ") == "Hello, world!<|im_end|>"
    assert tok.convert_tokens_to_ids(tokens) == ids
    assert tok.convert_tokens_to_ids(["<|im_end|>", "no such token"]) == [ids[-1], None]
    assert tok.convert_ids_to_tokens([ids[-1], 2**31 - 1]) == ["<|im_end|>", None]
    assert tok.convert_ids_to_tokens(-1) is None
    with pytest.raises(ValueError, match="does not fit int32"):
        tok.convert_ids_to_tokens(2**31)
    with pytest.raises(TypeError, match="tokens is bytes, expected a list"):
        tok.convert_tokens_to_ids(b"a")


def test_added_tokens(tok):
    added = tok.added_tokens
    assert len(added) == len(tok) - tok.vocab_size and [token.id for token in added] == sorted(t.id for t in added)
    end = next(token for token in added if token.content == "<|im_end|>")
    assert end.special and end.id == tok.convert_tokens_to_ids("<|im_end|>")


def test_a_tiktoken_vocabulary(tok, tmp_path):
    """The same vocabulary as a .tiktoken file gives the same ids."""
    lines = []
    for id in range(tok.vocab_size):
        spelling = tok.convert_ids_to_tokens(id)
        lines.append(f"{base64.b64encode(bytes(_BYTES[character] for character in spelling)).decode()} {id}\n")
    (tmp_path / "qwen.tiktoken").write_text("".join(lines))
    other = qwensft.Tokenizer.from_pretrained(tmp_path)
    assert other.vocab_size == tok.vocab_size
    for text in TEXTS:
        assert other.encode(text, split_special_tokens=True) == tok.encode(text, split_special_tokens=True)
    (tmp_path / "qwen.tiktoken").write_text("IQ== 0\n!!!! 1\n")
    with pytest.raises(qwensft.InvalidFileError, match="qwen.tiktoken:2: must be a token in Base64, a space and its rank"):
        qwensft.Tokenizer.from_pretrained(tmp_path)


def _byte_alphabet():
    """Which byte each character of a spelled token stands for."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_alphabet()
