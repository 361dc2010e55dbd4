#!/usr/bin/env python3
"""make_bindings.py: Python's view of the C library, the version that Swift knows and the list of exports, made from the header.

Reads include/qwensft.h, which keeps to a few forms: typed enums, opaque types, structs, callbacks and functions, each
written one way. Whatever does not fit them is an error, so nothing of the header can be missed.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "include" / "qwensft.h"
PYTHON = ROOT / "bindings" / "python" / "src" / "qwensft" / "_header.py"
EXPORTS = ROOT / "scripts" / "exported-symbols.map"
SWIFT = ROOT / "Sources" / "QwenSFTCore" / "Support" / "Version.swift"

FORMS = [
    ("enum", r"typedef int32_t (\w+);\s*SFT_ENUM \{([^}]*)\};"),
    ("opaque", r"typedef struct (\w+) \1;"),
    ("struct", r"typedef struct (\w+) \{([^}]*)\} \1;"),
    ("callback", r"typedef ([^;()]*?)\(\*(\w+)\)\(([^)]*)\);"),
    ("function", r"([\w ]+?[ *]+)(sft_\w+)\(([^)]*)\);"),
]
CTYPES = {
    "char": "c_char",
    "double": "c_double",
    "float": "c_float",
    "int32_t": "c_int32",
    "int64_t": "c_int64",
    "size_t": "c_size_t",
    "uint32_t": "c_uint32",
    "uint64_t": "c_uint64",
}
WORDS = {"adamw": "AdamW", "dtype": "DType", "sgd": "SGD"}  # capitals that a C name does not show
NOTHING = {"checkpoint", "default", "detect", "none"}  # what Python spells None: not given


def version(text):
    """Of a header, as "1.2.3"; the one place where it stands."""
    return ".".join(re.search(rf"#define SFT_VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def render_swift(text):
    """What Swift knows of the header. The core does not import it: it would be the C layer's layer."""
    return f"""\
/// This library. Made of include/qwensft.h by scripts/make_bindings.py (`make bindings`); not to be edited.
public enum QwenSFTLibrary {{
    /// Its version, as in the header.
    public static let version: StaticString = "{version(text)}"
}}
"""


def exported(exports):
    """The names in a version script, each with the version it has."""
    nodes = re.findall(r"^(\w+) \{\n    global:\n((?:        \w+;\n)*)", exports, re.M)
    return {name: node for node, names in nodes for name in re.findall(r"\w+", names)}


def with_exports(exports, text):
    """A version script with the header's functions that it does not have yet, in its last version."""
    new = [groups[1] for form, *groups in parse(text) if form == "function" and groups[1] not in exported(exports)]
    last = f"        {list(exported(exports))[-1]};\n"
    end = exports.rindex(last) + len(last)
    return exports[:end] + "".join(f"        {name};\n" for name in new) + exports[end:]


def parse(text):
    """The declarations of a header, in its order: (form, groups of its pattern)."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#(?:.*\\\n)*.*$", "", text, flags=re.M)
    text = text.replace('extern "C" {', "", 1)
    found = []
    while text := text.strip():
        for form, pattern in FORMS:
            if match := re.match(pattern, text):
                found.append((form, *match.groups()))
                text = text[match.end() :]
                break
        else:
            if text == "}":
                break
            raise SystemExit(f"make_bindings.py does not know this form of declaration:\n{text[:200]}")
    return found


def constants(body):
    """The constants of an enum, by the name that is left without what all have in common."""
    pairs = dict(re.findall(r"(\w+) = (\d+)", body))
    if len(pairs) != body.count("=") or len(pairs) != len([part for part in body.split(",") if part.strip()]):
        raise SystemExit(f"make_bindings.py wants a number for every constant:\n{body}")
    words = [name.split("_") for name in pairs]
    common = 0
    while len({tuple(name[: common + 1]) for name in words}) == 1:
        common += 1
    names = ("_".join(name[common:]).lower().removeprefix("dtype_") for name in words)
    return dict(zip(names, pairs.values()))


def python_name(name):
    return "".join(WORDS.get(word, word.capitalize()) for word in name.removeprefix("sft_").split("_"))


class Types:
    """C types as ctypes expressions."""

    def __init__(self, declarations):
        self.simple = dict(CTYPES)
        self.opaque = set()
        for form, first, *rest in declarations:
            if form == "opaque":
                self.opaque.add(first)
            elif form == "enum":
                self.simple[first] = "c_int32"
            elif form == "struct":
                self.simple[first] = python_name(first)
            elif form == "callback":
                self.simple[rest[0]] = python_name(rest[0])

    def of(self, declaration, in_callback=False):
        """Of "const int32_t *", and so on."""
        is_const = declaration.startswith("const ")
        stars = declaration.count("*")
        name = re.sub(r"\bconst\b|[*\s]", "", declaration)
        if name == "void":
            return "c_void_p" if stars else "None"
        # A text that goes in is given as bytes; what comes out of a callback may hold a NUL, at which c_char_p would end.
        if name == "char" and is_const and not in_callback:
            name, stars = "c_char_p", stars - 1
        elif name in self.opaque:
            name, stars = python_name(name) + "Pointer", stars - 1
        else:
            name = self.simple[name]
        return "POINTER(" * stars + name + ")" * stars

    def field(self, declaration, in_callback=False):
        """Of "const int32_t *ids": (name, type)."""
        kind, name, size = re.fullmatch(r"(.*?)(\w+)(?:\[(\d+)\])?", " ".join(declaration.split())).groups()
        expression = self.of(kind.strip(), in_callback)
        return name, f"{expression} * {size}" if size else expression

    def arguments(self, text, in_callback=False):
        parts = [] if text.strip() == "void" else text.split(",")
        return [self.field(part, in_callback)[1] for part in parts]


def listed(before, items, after, indent=0):
    """A list on one line if it fits there, else with an item a line."""
    pad = " " * indent
    line = f"{pad}{before}{', '.join(items)}{after}"
    if len(line) <= 120:
        return [line]
    return [f"{pad}{before}", *(f"{pad}    {item}," for item in items), pad + after]


def render_enum(name, body):
    singular = python_name(name)
    table = re.sub(r"(?<!^)(?=[A-Z])", "_", singular).upper() if singular != "DType" else "DTYPE"
    table = table[:-1] + "IES" if table.endswith("Y") else table + ("ES" if table.endswith("S") else "S")
    values = {None if key in NOTHING else key: number for key, number in constants(body).items()}
    quoted = {key: "None" if key is None else f'"{key}"' for key in values}
    choices = [text for key, text in quoted.items() if key is not None]
    keys = f"Optional[{singular}]" if None in values else singular
    items = [f"{quoted[key]}: {number}" for key, number in values.items()]
    return [
        *listed(f"{singular} = Literal[", choices, "]"),
        *listed(f"{table}: Dict[{keys}, int] = {{", items, "}"),
        "",
    ]


def render(text):
    """The module, line by line."""
    declarations = parse(text)
    types = Types(declarations)
    body, prototypes = [], []
    for form, *groups in declarations:
        if form == "enum":
            body += render_enum(*groups)
        elif form == "opaque":
            name = python_name(groups[0])
            body += ["", f"class {name}Object(Structure):", "    pass", "", ""]
            body += [f"{name}Pointer = POINTER({name}Object)", ""]
        elif form == "callback":
            result, name, arguments = groups
            items = [types.of(result.strip()), *types.arguments(arguments, in_callback=True)]
            body += [*listed(f"{python_name(name)} = CFUNCTYPE(", items, ")"), ""]
        elif form == "struct":
            name, fields = groups
            pairs = [types.field(field) for field in fields.split(";") if field.strip()]
            items = [f'("{field}", {kind})' for field, kind in pairs]
            body += ["", f"class {python_name(name)}(Structure):", *listed("_fields_ = [", items, "]", 4), "", ""]
        else:
            result, name, arguments = groups
            if result.strip() == "sft_status":
                raise SystemExit(f"make_bindings.py: {name} is to return SFT_RESULT, so that nobody drops its status")
            restype = "StatusResult" if result.strip() == "SFT_RESULT" else types.of(result.strip())
            (line, *more) = listed(f'"{name}": ({restype}, [', types.arguments(arguments), "]),", 4)
            prototypes += [line, *more]
    names = sorted({name for name in re.findall(r"\b(c_\w+|POINTER|CFUNCTYPE)\b", "\n".join(body + prototypes))})
    head = [
        '"""The header, include/qwensft.h, in ctypes. Made by scripts/make_bindings.py (`make bindings`); not to be edited."""',
        "",
        *listed("from ctypes import (", sorted([*names, "Structure"], key=sort_key), ")"),
        "from typing import Any, Dict, List, Literal, Optional, Tuple",
        "",
        f'VERSION = "{version(text)}"',
        "",
        "",
        "class StatusResult(c_int32):",
        '    """The result of functions that can fail."""',
        "",
        "",
    ]
    table = ["PROTOTYPES: Dict[str, Tuple[Any, List[Any]]] = {", *prototypes, "}"]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(head + body + table) + "\n")


def sort_key(name):
    """As ruff sorts imports: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


if __name__ == "__main__":
    header = HEADER.read_text()
    PYTHON.write_text(render(header))
    SWIFT.write_text(render_swift(header))
    EXPORTS.write_text(with_exports(EXPORTS.read_text(), header))
