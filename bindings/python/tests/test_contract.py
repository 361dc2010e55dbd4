"""The header, the exported symbols of the library and Python's table are the same list, with the same types."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qwensft
from qwensft import _ffi, _header, errors

ROOT = Path(__file__).resolve().parents[3]
HEADER = re.sub(r"/\*.*?\*/", "", (ROOT / "include" / "qwensft.h").read_text(), flags=re.S)
NAMES = re.findall(r"\b(sft_\w+)\((?!\*)", HEADER)
sys.path.insert(0, str(ROOT / "scripts"))
import make_bindings  # noqa: E402
import make_struct_table  # noqa: E402


def test_python_is_made_from_this_header():
    made = make_bindings.render((ROOT / "include" / "qwensft.h").read_text())
    assert Path(_header.__file__).read_text() == made, "run make bindings"


def test_the_version_stands_in_the_header_alone():
    header = (ROOT / "include" / "qwensft.h").read_text()
    version = make_bindings.version(header)
    assert make_bindings.SWIFT.read_text() == make_bindings.render_swift(header), "run make bindings"
    assert qwensft.__version__ == version == _ffi.lib.sft_version_string().decode()
    assert (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1].startswith(version + " ")
    # Nowhere else, but where a person is told of a version to ask for.
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    told = {"CHANGELOG.md", "RELEASING.md", "README.md", "Examples/swift/Package.swift", "include/qwensft.h"}
    made = {str(path.relative_to(ROOT)) for path in (make_bindings.SWIFT, make_bindings.PYTHON)}
    for name in set(files) - told - made:
        path = ROOT / name
        if path.suffix in {".swift", ".py", ".toml", ".txt", ".sh", ".in", ".c", ".h"} and path.is_file():
            assert f'"{version}"' not in path.read_text(), name


def test_python_has_what_the_header_declares():
    assert len(NAMES) > 80
    assert list(_ffi.PROTOTYPES) == NAMES  # in its order, too


def test_the_library_exports_what_the_header_declares():
    listing = subprocess.run(["nm", "-D", "--defined-only", _ffi.lib._name], capture_output=True, text=True, check=True)
    versions = make_bindings.exported(make_bindings.EXPORTS.read_text())
    assert set(versions) == set(NAMES), "run make bindings"
    versioned = {f"{name}@@{version}" for name, version in versions.items()}  # and the versions' own marks
    assert {line.split()[-1] for line in listing.stdout.splitlines()} - set(versions.values()) == versioned


def test_a_new_function_is_exported():
    exports = make_bindings.EXPORTS.read_text()
    changed = make_bindings.with_exports(exports, "uint32_t sft_version(void);\nuint32_t sft_more(void);")
    assert make_bindings.exported(changed) == {**make_bindings.exported(exports), "sft_more": "QWENSFT_0"}
    assert changed.replace("        sft_more;\n", "") == exports


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
def test_the_generator_refuses_what_it_would_misread(text, part):
    with pytest.raises(SystemExit, match=part):
        make_bindings.render(text)


def test_the_table_of_structs_is_that_of_the_compiler():
    text = make_struct_table.PAGE.read_text()
    assert text == make_struct_table.page(text), "run make bindings"


def test_struct_layouts():
    """What the C compiler makes of every struct, beside what ctypes does."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|(.*) \|$", make_struct_table.table(), flags=re.M)
    assert [name for name, _, _ in rows] == re.findall(r"typedef struct (\w+) \{", HEADER)
    for name, size, fields in rows:
        struct = getattr(_header, make_bindings.python_name(name))
        assert ctypes.sizeof(struct) == int(size), name
        offsets = [f"{field} {getattr(struct, field).offset}" for field, _ in struct._fields_]
        assert [field.strip() for field in fields.split(",")] == offsets, name
