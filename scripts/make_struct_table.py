#!/usr/bin/env python3
"""Sizes and offsets of the header's structs, as the C compiler lays them out, into docs/c-api.md."""

import subprocess
import tempfile
from pathlib import Path

from make_bindings import HEADER, ROOT, Types, parse

PAGE = ROOT / "docs" / "c-api.md"
BEGIN = "| struct | bytes | fields, each with its offset |\n|---|---|---|\n"


def table(header=HEADER):
    """The table's lines."""
    declarations = parse(header.read_text())
    types = Types(declarations)
    structs = {
        first: [types.field(field)[0] for field in rest[0].split(";") if field.strip()]
        for form, first, *rest in declarations
        if form == "struct"
    }
    lines = ["#include <qwensft.h>", "#include <stdio.h>", "int main(void) {"]
    for name, fields in structs.items():
        lines.append(f'printf("| `{name}` | %zu |", sizeof({name}));')
        for i, field in enumerate(fields):
            comma = "," if i else ""
            lines.append(f'printf("{comma} {field} %zu", offsetof({name}, {field}));')
        lines.append('puts(" |");')
    with tempfile.TemporaryDirectory() as directory:
        source, program = Path(directory, "table.c"), Path(directory, "table")
        source.write_text("\n".join(lines) + "\n}\n")
        subprocess.run(["cc", f"-I{header.parent}", source, "-o", program], check=True)
        return BEGIN + subprocess.run([program], capture_output=True, text=True, check=True).stdout


def page(text, header=HEADER):
    """The page with the table in the place of the one it has."""
    before, _, after = text.partition(BEGIN)
    _, _, after = after.partition("\n\n")
    return before + table(header) + "\n" + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
