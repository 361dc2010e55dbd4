"""Every function of the header with every argument wrong: NULL, huge, negative, no constant, another type's handle.

Refused, and never a crash. Each function is tried in a process of its own, which notes what it is about to do.
"""

import ctypes
import itertools
import mmap
import os
import signal
import sys
from ctypes import Structure, byref, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path

import pytest

import qwensft
from qwensft import _ffi, _header, _library

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))
import make_bindings  # noqa: E402

ZSTRING = 2**64 - 1
# Sizes no memory can have; a smaller one would be a false promise of the caller's, which nobody can check.
IMPOSSIBLE = [2**57, 2**61, 2**62, 2**63, 2**64 - 2]
# Counts that are compared with something before anything is read.
HUGE = [1, 2**31, 2**32, *IMPOSSIBLE, 2**64 - 1]
OPTIONAL = {
    "options", "optimizer", "attention_mask", "token_weights", "metrics", "matched", "went_back", "callback", "user_data",
    "progress", "chat_template", "arguments", "adamw", "sgd", "trainer_options", "data_options",
}  # fmt: skip
# What a whole number may be, or whatever fits into it.
FREE = {"id", "top_k"}
CRASH_FREE_ONLY = {"sft_set_warning_callback", "sft_set_thread_count", "sft_set_max_isa"}  # something has been computed

NAMES = {
    name: [parameter.split()[-1].lstrip("*") for parameter in arguments.split(",")] if arguments.strip() != "void" else []
    for form, *rest in make_bindings.parse(make_bindings.HEADER.read_text())
    if form == "function"
    for _, name, arguments in [rest]
}
TEXTS = {"title": b"title", "pattern": b"model.norm.weight", "token": b"a", "content": b"2+2", "text": b"Hello, world!",
         "chat_template": b"chatml", "arguments": b"{}", "isa": b"avx512",
         "configuration": b"{}"}  # fmt: skip


@pytest.fixture(scope="module")
def world(tok, checkpoint, tmp_path_factory):
    """A live object of every type, and a library without Python's conversions of a status."""
    directory = tmp_path_factory.mktemp("arguments")
    model = qwensft.Model.from_pretrained(checkpoint)
    messages = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
    trainer = qwensft.Trainer(model, optimizer=qwensft.AdamW())
    dataset = qwensft.Dataset(tok, [messages, messages[::-1], messages * 2])
    (directory / "data.jsonl").write_text('{"messages": [{"role": "user", "content": "2+2"}]}\n')
    trainer.save_state(directory / "state")
    session, decoder, generation = _ffi.SessionPointer(), _ffi.DecoderPointer(), _ffi.GenerationPointer()
    lib = _ffi.lib
    turns = ((b"system", b"Be brief."), (b"user", b"2+2"), (b"assistant", b"4"))
    begun = (_ffi.Message * 3)(*(_ffi.Message(role, ZSTRING, content, ZSTRING, 1) for role, content in turns))
    lib.sft_session_create(
        model._pointer, tok._pointer, begun, ctypes.sizeof(_ffi.Message), len(begun), 1, byref(session)
    )
    lib.sft_decoder_create(tok._pointer, 0, byref(decoder))
    lib.sft_model_generate(model._pointer, (c_int32 * 4)(1, 2, 3, 4), 4, None, byref(generation))
    model.add_adapter()
    model.save_adapter(directory / "adapter")
    model.set_adapter(None)
    run = qwensft.Run(trainer, dataset, output=directory / "result")
    run.snapshot()
    run.save_state(directory / "run-state")
    kept = [tok, model, trainer, dataset, qwensft.preprocess(tok, [messages]), run]
    types = ["Tokenizer", "Model", "Trainer", "Dataset", "Batch", "Run"]
    handles = {f"{kind}Pointer": item._pointer for kind, item in zip(types, kept)}
    handles.update(SessionPointer=session, DecoderPointer=decoder, GenerationPointer=generation)
    raw = _library.load()  # its functions have prototypes of their own
    for name, (result, arguments) in _header.PROTOTYPES.items():
        function = getattr(raw, name)
        function.restype, function.argtypes = (c_int32 if result is _header.StatusResult else result), None
    return {"raw": raw, "handles": handles, "directory": directory, "checkpoint": checkpoint, "kept": kept}


def type_name(kind):
    return next((name for name, value in vars(_header).items() if value is kind), None)


def is_struct_pointer(kind):
    element = getattr(kind, "_type_", None)
    return isinstance(element, type) and issubclass(element, Structure)


class Call:
    """One function with arguments that are fine, or nearly."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.types = _header.PROTOTYPES[name][1]
        self.names = NAMES[name]
        self.keep = []
        self.arguments = []
        for i, kind in enumerate(self.types):
            self.arguments.append(self.fine(i, kind, self.names[i]))

    def fine(self, i, kind, name):
        handle = type_name(kind)
        if handle in self.world["handles"]:
            return self.world["handles"][handle]
        if kind is c_char_p:
            return self.text(name)
        if kind in (c_size_t, c_uint64):
            return c_size_t(self.size(i, name))
        if kind is c_int32:
            return c_int32(0)
        if kind is c_double:
            return c_double(1e-4)
        if kind is _header.ReadCallback:
            # All of it at once, then the end, again and again.
            pieces = itertools.cycle([b'{"prompt": "2+2", "completion": "4"}', b""])

            rest = []

            def read(user_data, buffer, capacity):
                piece = rest.pop() if rest else next(pieces)
                if piece[capacity:]:
                    rest.append(piece[capacity:])
                ctypes.memmove(buffer, piece, min(len(piece), capacity))
                return min(len(piece), capacity)

            self.keep.append(kind(read))
            return self.keep[-1]
        if kind is c_void_p or issubclass(kind, ctypes._CFuncPtr):
            return None
        element = kind._type_
        if name == "batches":
            return (element * 1)(self.world["handles"]["BatchPointer"])
        if issubclass(element, Structure):
            struct = self.struct(element, name)
            self.keep.append(struct)
            return byref(struct)
        if name == "message_counts":
            return (c_size_t * 1)(2)
        if name in ("input_ids", "attention_mask", "labels") and element is c_int64:
            return (c_int64 * 4)(1, 1, 1, 1)
        return (element * (1 << 18))() if element in (c_float, c_char) else (element * 4096)()

    def text(self, name):
        if name == "name":
            return b"new" if self.name in ("sft_model_add_adapter", "sft_model_load_adapter") else b"default"
        if name == "directory" and self.name == "sft_model_load_adapter":
            return str(self.world["directory"] / "adapter").encode()
        if name == "directory":
            return str(self.world["directory"] / "out" if "save" in self.name else self.world["checkpoint"]).encode()
        if name == "path":
            file = "data.jsonl" if "dataset" in self.name else "run-state" if "_run_" in self.name else "state"
            return str(self.world["directory"] / file).encode()
        return TEXTS[name]

    def size(self, i, name):
        before = self.types[i - 1] if i else None
        if name == "message_size":
            return ctypes.sizeof(_ffi.Message)
        if before is c_char_p:
            return ZSTRING
        if name.endswith("_size") and is_struct_pointer(before):
            return ctypes.sizeof(before._type_)
        if self.name == "sft_model_write_parameter" and name == "count":
            return 704 * 128
        return {"capacity": 4096, "index": 0, "columns": 4, "message_count": 2, "id_count": 4, "count": 4}.get(name, 1)

    def struct(self, element, name):
        if element is _ffi.Message:
            array = (_ffi.Message * 2)(
                _ffi.Message(b"user", ZSTRING, b"2+2", ZSTRING, 1), _ffi.Message(b"assistant", ZSTRING, b"4", ZSTRING, 1)
            )
            return array
        if element is _ffi.Text:
            return _ffi.Text(b"text", ZSTRING)
        struct = element()
        if any(field == "struct_size" for field, *_ in element._fields_):
            title = {"SGDOptions": "sgd_options", "AdamWOptions": "adamw_options"}.get(element.__name__)
            title = title or "".join("_" + c.lower() if c.isupper() else c for c in element.__name__)[1:]
            getattr(_ffi.lib, f"sft_{title}_init")(byref(struct), ctypes.sizeof(struct))
            if element.__name__ == "GenerationOptions":
                struct.max_new_tokens = 2
        return struct

    def run(self, arguments=None):
        return getattr(self.world["raw"], self.name)(*(self.arguments if arguments is None else arguments))

    def variations(self):
        """(what is wrong, arguments, whether it must be refused)."""
        for i, kind in enumerate(self.types):
            name = self.names[i]

            def changed(value):
                return [*self.arguments[:i], value, *self.arguments[i + 1 :]]

            if type_name(kind) in self.world["handles"]:
                nothing = ctypes.create_string_buffer(64)
                self.keep.append(nothing)
                yield f"{name} NULL", changed(None), True
                yield f"{name} zeros", changed(ctypes.cast(nothing, kind)), True
                yield f"{name} odd", changed(c_void_p(ctypes.addressof(nothing) + 1)), True
                for other, handle in self.world["handles"].items():
                    if other != type_name(kind):
                        yield f"{name} {other}", changed(ctypes.cast(handle, c_void_p)), True
            elif kind in (c_size_t, c_uint64):
                for value in self.sizes(i, name):
                    yield f"{name} {value:#x}", changed(c_size_t(value)), False
            elif kind is c_int32:
                for value in (-1, 2, 12345, 2**31 - 1, -(2**31)):
                    yield f"{name} {value}", changed(c_int32(value)), value == 12345 and name not in FREE
            elif kind is c_double:
                for value in (float("nan"), float("inf"), float("-inf"), -1.0, 1e300):
                    yield f"{name} {value}", changed(c_double(value)), True
            elif kind is not c_void_p and not issubclass(kind, ctypes._CFuncPtr):
                yield f"{name} NULL", changed(None), name not in OPTIONAL
                if is_struct_pointer(kind) and not self.name.endswith("_init"):
                    yield from self.fields(i, kind._type_, changed)

    def sizes(self, i, name):
        if name in ("capacity", "index") or self.name == "sft_model_write_parameter":
            return [0, *HUGE]
        return [0, *IMPOSSIBLE]

    def fields(self, i, element, changed):
        for field, kind, *_ in element._fields_:
            if kind is c_int32:
                values = [-7, 2, 12345, 2**31 - 1]
            elif kind in (c_size_t, c_uint64):
                values = [0, *IMPOSSIBLE] if field.endswith(("_size", "_count")) else [0, *HUGE]
            elif kind in (c_double, c_float):
                values = [float("nan"), float("inf"), -3.0, 1e30]
            elif kind is c_char_p:
                values = [None, b"\xff"]
            else:
                continue
            for value in values:
                struct = self.struct(element, self.names[i])
                target = struct[0] if isinstance(struct, ctypes.Array) else struct
                setattr(target, field, value)
                self.keep.append(struct)
                must = kind is c_int32 and value == 12345 and field not in FREE and "options" in self.names[i]
                yield f"{self.names[i]}.{field} {value}", changed(byref(struct)), must


@pytest.mark.parametrize("name", [name for name in _header.PROTOTYPES if _header.PROTOTYPES[name][1]])
def test_wrong_arguments(world, name):
    result = _header.PROTOTYPES[name][0]
    note = mmap.mmap(-1, 1 << 16)
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        failures = []
        try:
            call = Call(world, name)
            if not name.endswith("_free") and result is _header.StatusResult:
                note[:4096] = b"fine arguments".ljust(4096)
                status = call.run()
                if status not in (0, 9) and name not in CRASH_FREE_ONLY:
                    failures.append(f"fine arguments: {status} {world['raw'].sft_last_error()}")
            for what, arguments, must in call.variations():
                note[:4096] = what.encode()[:4096].ljust(4096)
                status = call.run(arguments)
                if must and result is _header.StatusResult and status == 0 and name not in CRASH_FREE_ONLY:
                    failures.append(f"{what}: not refused")
            note[:4096] = b"fine arguments, afterwards".ljust(4096)
            if not name.endswith("_free") and result is _header.StatusResult:
                call.run()
        except BaseException as error:  # noqa: B036
            failures.append(repr(error))
        text = "\n".join(failures).encode()[:60000]
        note[4096 : 4096 + len(text)] = text
        os._exit(1 if failures else 0)
    _, state = os.waitpid(child, 0)
    doing = note[:4096].rstrip(b" \0").decode()
    if os.WIFSIGNALED(state):
        pytest.fail(f"{name}: signal {os.WTERMSIG(state)} at {doing}")
    assert os.WEXITSTATUS(state) == 0, note[4096:].rstrip(b"\0").decode()
