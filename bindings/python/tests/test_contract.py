"""The header, the exported symbols of the library and Python's table are the same list, with the same types."""

import ctypes
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from qwensft import _ffi, _header, errors

ROOT = Path(__file__).resolve().parents[3]
HEADER = re.sub(r"/\*.*?\*/", "", (ROOT / "include" / "qwensft.h").read_text(), flags=re.S)
NAMES = re.findall(r"\b(sft_\w+)\((?!\*)", HEADER)
STRUCTS = {
    name: fields for name, fields in re.findall(r"typedef struct (\w+) \{([^}]*)\}", HEADER)
}


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_bindings", ROOT / "scripts" / "make_bindings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_python_is_made_from_this_header(generator):
    made = generator.render((ROOT / "include" / "qwensft.h").read_text())
    assert Path(_header.__file__).read_text() == made, "run make bindings"


def test_python_has_what_the_header_declares():
    assert len(NAMES) > 80
    assert list(_ffi.PROTOTYPES) == NAMES  # in its order, too


def test_the_library_exports_what_the_header_declares():
    listing = subprocess.run(["nm", "-D", "--defined-only", _ffi.lib._name], capture_output=True, text=True, check=True)
    assert {line.split()[-1] for line in listing.stdout.splitlines()} == set(NAMES)


def test_every_status_is_raised_as_an_exception():
    statuses = set(_ffi.STATUSES.values())
    assert set(errors._BY_STATUS) == statuses - {0} and len(set(errors._BY_STATUS.values())) == len(statuses) - 1
    for number in statuses:
        name = _ffi.lib.sft_status_name(number).decode()
        assert _ffi.STATUSES[name.removeprefix("SFT_").lower()] == number


@pytest.mark.parametrize(
    "text, part",
    [
        ("sft_status sft_x(int32_t a);", "SFT_RESULT"),
        ("enum { SFT_A = 1 };", "does not know"),
        ("typedef int32_t sft_e;\nSFT_ENUM { SFT_E_A = 1, SFT_E_B };", "number for every constant"),
        ("typedef struct sft_s { int32_t a; } sft_t;", "does not know"),
        ("SFT_RESULT sft_x(void (*callback)(void));", "does not know"),
    ],
)
def test_the_generator_refuses_what_it_would_misread(generator, text, part):
    with pytest.raises(SystemExit, match=part):
        generator.render(text)


def test_struct_layouts(generator, tmp_path):
    """What the C compiler makes of every struct, beside what ctypes does."""
    structs = {name: getattr(_header, generator.python_name(name)) for name in STRUCTS}
    lines = []
    for name, struct in structs.items():
        assert len(struct._fields_) == STRUCTS[name].count(";")
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field, _ in struct._fields_:
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
    source = tmp_path / "layout.c"
    source.write_text("#include <qwensft.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n")
    subprocess.run(["cc", f"-I{ROOT / 'include'}", source, "-o", tmp_path / "layout"], check=True)
    output = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout

    expected = []
    for name, struct in structs.items():
        expected.append(f"{name} {ctypes.sizeof(struct)}")
        expected += [f"{name}.{field} {getattr(struct, field).offset}" for field, _ in struct._fields_]
    assert output.splitlines() == expected
