"""The header, the exported symbols of the library and Python's table are the same list, with the same types."""

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from qwensft import _ffi

ROOT = Path(__file__).resolve().parents[3]
HEADER = re.sub(r"/\*.*?\*/", "", (ROOT / "include" / "qwensft.h").read_text(), flags=re.S)
DECLARATIONS = {
    name: (result.strip(), arguments)
    for result, name, arguments in re.findall(r"^([a-z][\w ]*?[ *]+)(sft_\w+)\(([^)]*)\);", HEADER, flags=re.M)
}

STRUCTS = {
    "sft_text": _ffi.Text,
    "sft_tokenizer_info": _ffi.TokenizerInfo,
    "sft_added_token": _ffi.AddedToken,
    "sft_message": _ffi.Message,
    "sft_chat_options": _ffi.ChatOptions,
    "sft_preprocess_options": _ffi.PreprocessOptions,
    "sft_encode_options": _ffi.EncodeOptions,
    "sft_batch_view": _ffi.BatchView,
    "sft_model_options": _ffi.ModelOptions,
    "sft_model_info": _ffi.ModelInfo,
    "sft_save_options": _ffi.SaveOptions,
    "sft_piece": _ffi.Piece,
    "sft_generation_options": _ffi.GenerationOptions,
    "sft_answer": _ffi.Answer,
    "sft_trainer_options": _ffi.TrainerOptions,
    "sft_sgd_options": _ffi.SGDOptions,
    "sft_adamw_options": _ffi.AdamWOptions,
    "sft_step_metrics": _ffi.StepMetrics,
    "sft_dataset_info": _ffi.DatasetInfo,
    "sft_run_options": _ffi.RunOptions,
    "sft_run_step": _ffi.RunStep,
    "sft_parameter": _ffi.Parameter,
}
SIMPLE = {
    "char": ctypes.c_char,
    "double": ctypes.c_double,
    "float": ctypes.c_float,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "size_t": ctypes.c_size_t,
    "uint32_t": ctypes.c_uint32,
    "sft_status": ctypes.c_int32,
    "sft_warning_callback": _ffi.WarningCallback,
}
OPAQUE = {
    "sft_tokenizer": _ffi.TokenizerPointer,
    "sft_decoder": _ffi.DecoderPointer,
    "sft_batch": _ffi.BatchPointer,
    "sft_model": _ffi.ModelPointer,
    "sft_generation": _ffi.GenerationPointer,
    "sft_trainer": _ffi.TrainerPointer,
    "sft_session": _ffi.SessionPointer,
    "sft_dataset": _ffi.DatasetPointer,
    "sft_run": _ffi.RunPointer,
}


def expected_type(declaration):
    """The ctypes type of a C type."""
    stars = declaration.count("*")
    name = declaration.replace("const", "").replace("*", "").strip()
    if (name, stars) == ("void", 0):
        return None
    if (name, stars) == ("void", 1):
        return ctypes.c_void_p
    if declaration.startswith("const char *"):
        return ctypes.c_char_p
    kind = OPAQUE.get(name)
    if kind is not None:
        stars -= 1
    else:
        kind = STRUCTS.get(name) or SIMPLE[name]
    for _ in range(stars):
        kind = ctypes.POINTER(kind)
    return kind


def test_the_header_was_parsed():
    assert len(DECLARATIONS) == len(set(re.findall(r"\bsft_\w+(?=\()", HEADER)))
    assert {"sft_last_error", "sft_preprocess", "sft_train_step"} <= DECLARATIONS.keys()


def test_python_has_what_the_header_declares():
    assert list(_ffi.PROTOTYPES) == list(DECLARATIONS)  # in its order, too


def test_the_library_exports_what_the_header_declares():
    listing = subprocess.run(["nm", "-D", "--defined-only", _ffi.lib._name], capture_output=True, text=True, check=True)
    assert {line.split()[-1] for line in listing.stdout.splitlines()} == DECLARATIONS.keys()


@pytest.mark.parametrize("name", DECLARATIONS)
def test_prototype(name):
    result, arguments = DECLARATIONS[name]
    restype, argtypes = _ffi.PROTOTYPES[name]
    if restype is _ffi.Status:
        assert result == "sft_status"
    elif name == "sft_generation_text":
        assert restype is ctypes.POINTER(ctypes.c_char)  # it may hold NULs, which c_char_p would end at
    else:
        assert restype is expected_type(result)
    types = [re.match(r"(.*?)\w+$", part.strip(), flags=re.S).group(1).strip() for part in arguments.split(",")]
    assert [expected_type(kind) for kind in types if arguments.strip() != "void"] == argtypes


def test_struct_layouts(tmp_path):
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field, _ in struct._fields_:
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
    source = tmp_path / "layout.c"
    source.write_text("#include <qwensft.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n")
    subprocess.run(["cc", f"-I{ROOT / 'include'}", source, "-o", tmp_path / "layout"], check=True)
    output = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout

    expected = []
    for name, struct in STRUCTS.items():
        expected.append(f"{name} {ctypes.sizeof(struct)}")
        expected += [f"{name}.{field} {getattr(struct, field).offset}" for field, _ in struct._fields_]
    assert output.splitlines() == expected


def test_constants():
    constants = {
        name: int(value) for name, value in re.findall(r"^\s+SFT_(\w+) = (\d+)", HEADER, flags=re.M)
    }
    from qwensft import errors

    statuses = dict(list(constants.items())[:13])
    assert statuses["OK"] == 0 and statuses["BUSY"] == 12
    assert set(errors._BY_STATUS) == set(statuses.values()) - {0}
    for name, number in _ffi.LABEL_POLICIES.items():
        assert constants[f"LABELS_{name.upper()}"] == number
    assert len(_ffi.LABEL_POLICIES) == sum(name.startswith("LABELS_") for name in constants)
    for name, number in _ffi.DTYPES.items():
        assert constants[name.upper() if name else "DTYPE_DEFAULT"] == number
    for name, number in _ffi.CHAT_TEMPLATES.items():
        assert constants["TEMPLATE_CHATML" if name else "TEMPLATE_CHECKPOINT"] == number
    for name, number in _ffi.QUANTIZATIONS.items():
        assert constants[f"QUANTIZATION_{(name or 'none').upper()}"] == number
    for prefix, table in (("FINISH_", _ffi.FINISH_REASONS), ("SCHEDULE_", _ffi.SCHEDULES)):
        assert {prefix + name.upper(): number for name, number in table.items()} == {
            name: number for name, number in constants.items() if name.startswith(prefix)
        }
