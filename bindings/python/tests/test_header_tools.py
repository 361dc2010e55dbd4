"""cffi, with pycparser underneath, reads the header by itself: what it sees is what the package's ctypes are."""

import ctypes
import subprocess
from pathlib import Path

import cffi
import pytest

from qwensft import _ffi, _header

HEADER = Path(__file__).resolve().parents[3] / "include" / "qwensft.h"


@pytest.fixture(scope="module")
def plain():
    command = ["cc", "-E", "-P", "-DSFT_PLAIN", str(HEADER)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def ffi(plain):
    ffi = cffi.FFI()
    ffi.cdef(plain)
    return ffi


@pytest.fixture(scope="module")
def lib(ffi):
    return ffi.dlopen(_ffi.lib._name)


def seen_by_cffi(ffi, kind):
    if kind.kind == "pointer":
        return "*" + seen_by_cffi(ffi, kind.item)
    if kind.kind == "primitive":
        floating = kind.cname in ("float", "double")
        return "char" if kind.cname == "char" else f"{'float' if floating else 'int'}{8 * ffi.sizeof(kind)}"
    if kind.kind == "function":
        arguments = ", ".join(seen_by_cffi(ffi, argument) for argument in kind.args)
        return f"*function({arguments}) {seen_by_cffi(ffi, kind.result)}"
    if kind.kind == "array":
        return f"{seen_by_cffi(ffi, kind.item)}[{kind.length}]"
    return "".join(word.capitalize() for word in kind.cname.replace("struct ", "").removeprefix("sft_").split("_"))


def seen_by_ctypes(kind):
    if kind is None:
        return "Void"
    if kind is ctypes.c_void_p:
        return "*Void"
    if kind is ctypes.c_char_p:
        return "*char"
    if kind is ctypes.c_char:
        return "char"
    if issubclass(kind, ctypes._Pointer):
        return "*" + seen_by_ctypes(kind._type_)
    if issubclass(kind, ctypes.Array):
        return f"{seen_by_ctypes(kind._type_)}[{kind._length_}]"
    if issubclass(kind, ctypes._CFuncPtr):
        return f"*function({', '.join(map(seen_by_ctypes, kind._argtypes_))}) {seen_by_ctypes(kind._restype_)}"
    if issubclass(kind, ctypes.Structure):
        return kind.__name__.removesuffix("Object").capitalize()
    if kind in (ctypes.c_float, ctypes.c_double):
        return f"float{8 * ctypes.sizeof(kind)}"
    return f"int{8 * ctypes.sizeof(kind)}"


@pytest.mark.parametrize("name", _header.PROTOTYPES)
def test_prototype(ffi, lib, name):
    result, arguments = _header.PROTOTYPES[name]
    seen = ffi.typeof(getattr(lib, name))
    mine = [seen_by_ctypes(argument) for argument in arguments]
    assert [seen_by_cffi(ffi, argument).lower() for argument in seen.args] == [text.lower() for text in mine]
    assert seen_by_cffi(ffi, seen.result).lower() == seen_by_ctypes(result).lower()


def test_structs(ffi):
    typedefs, _, _ = ffi.list_types()
    structs = {name: ffi.typeof(name) for name in typedefs if ffi.typeof(name).kind == "struct"}
    layouts = 0
    for name, kind in structs.items():
        if kind.fields is None:
            continue
        struct = next(
            value for key, value in vars(_header).items() if key.lower() == name.removeprefix("sft_").replace("_", "")
        )
        fields = dict(kind.fields)
        assert list(fields) == [field for field, _ in struct._fields_]
        for field, mine in struct._fields_:
            assert fields[field].offset == getattr(struct, field).offset
            assert seen_by_cffi(ffi, fields[field].type).lower() == seen_by_ctypes(mine).lower(), f"{name}.{field}"
        assert ffi.sizeof(kind) == ctypes.sizeof(struct)
        layouts += 1
    assert layouts > 20


def test_calls(ffi, lib, checkpoint):
    options = ffi.new("sft_run_options *")
    assert lib.sft_run_options_init(options, ffi.sizeof("sft_run_options")) == lib.SFT_OK
    assert options.batch_size == 8 and options.schedule == lib.SFT_SCHEDULE_CONSTANT
    tokenizer = ffi.new("sft_tokenizer **")
    assert lib.sft_tokenizer_open(b"/nowhere", 8, tokenizer) == lib.SFT_NOT_FOUND
    assert b"/nowhere" in ffi.string(lib.sft_last_error())
    path = str(checkpoint).encode()
    assert lib.sft_tokenizer_open(path, len(path), tokenizer) == lib.SFT_OK
    lib.sft_tokenizer_free(tokenizer[0])
