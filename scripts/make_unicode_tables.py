#!/usr/bin/env python3
"""Write Sources/CKernels/unicode_tables.c: what the tokenizer must know about Unicode 15.0.0.

Character classes for the split pattern (\\p{L}, \\p{N}, White_Space) and the data of Normalization Form C.
Needs `unicodedata2==15.0.0` from PyPI (the Unicode Character Database of exactly that version; Python's own
`unicodedata` is of whatever version that Python has):

    python3 -m venv V && V/bin/pip install unicodedata2==15.0.0 && V/bin/python scripts/make_unicode_tables.py
"""
import os

import unicodedata2 as ucd

VERSION = "15.0.0"
CODE_POINTS = 0x110000
BLOCK = 64  # one block is what the last byte of a UTF-8 sequence can tell apart

# PropList.txt, White_Space; unchanged since Unicode 6.3.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
HANGUL = range(0xAC00, 0xAC00 + 11172)  # composed and decomposed by arithmetic
HANGUL_TAILS = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}  # vowels and finals: they join what stands before

OTHER, LETTER, NUMBER, SPACE, UNSETTLED = 0, 1, 2, 3, 4


def canonical(c):
    """The canonical decomposition of one step, as code points; () where there is none."""
    field = ucd.decomposition(chr(c))
    return () if not field or field.startswith("<") else tuple(int(part, 16) for part in field.split())


def decompose(c):
    parts = canonical(c)
    return sum((decompose(part) for part in parts), ()) if parts else (c,)


def two_stage(values):
    blocks, places, first = [], {}, []
    for start in range(0, CODE_POINTS, BLOCK):
        block = tuple(values[start:start + BLOCK])
        if block not in places:
            places[block] = len(blocks)
            blocks.append(block)
        first.append(places[block])
    return first, [value for block in blocks for value in block]


def array(kind, name, values):
    lines, line = [], "   "
    for value in values:
        item = f" {value},"
        if len(line) + len(item) > 120:
            lines.append(line)
            line = "   "
        line += item
    return f"const {kind} {name}[{len(values)}] = {{\n" + "\n".join(lines + [line]) + "\n};\n"


def main():
    assert ucd.unidata_version == VERSION, ucd.unidata_version
    scalars = [c for c in range(CODE_POINTS) if not 0xD800 <= c < 0xE000]

    composites = {}
    for c in scalars:
        parts = canonical(c)
        # Composition exclusions are those that NFC leaves apart.
        if len(parts) == 2 and ucd.normalize("NFC", chr(c)) == chr(c):
            composites[parts] = c
    joiners = {second for _, second in composites} | HANGUL_TAILS

    flags = [OTHER] * CODE_POINTS
    records, record_of, parts_of_all = [(0, 0, 0)], [0] * CODE_POINTS, []
    places = {}
    for c in scalars:
        category, combining = ucd.category(chr(c))[0], ucd.combining(chr(c))
        kind = SPACE if c in WHITE_SPACE else LETTER if category == "L" else NUMBER if category == "N" else OTHER
        unsettled = combining or c in joiners or ucd.normalize("NFC", chr(c)) != chr(c)
        flags[c] = kind | (UNSETTLED if unsettled else 0)
        parts = () if c in HANGUL or not canonical(c) else decompose(c)
        # A run of settled characters can be copied only if none of them changes with what stands before it.
        first = (parts or (c,))[0]
        assert unsettled or (ucd.combining(chr(first)) == 0 and first not in joiners), hex(c)
        if combining or parts:
            record = (combining, len(parts), len(parts_of_all) if parts else 0)
            if parts or record not in places:
                places[record] = len(records)
                records.append(record)
                parts_of_all += parts
            record_of[c] = places[record]

    flag_first, flag_blocks = two_stage(flags)
    record_first, record_blocks = two_stage(record_of)
    assert flag_first[:2] == [0, 1]  # ASCII needs no first stage
    assert len(flag_blocks) // BLOCK < 65536 and len(records) < 65536 and len(parts_of_all) < 65536
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, "..", "Sources", "CKernels", "unicode_tables.c")
    with open(path, "w") as out:
        out.write(f"// Made by scripts/make_unicode_tables.py from the Unicode Character Database {VERSION}; not to be edited.\n")
        out.write("// The data is Unicode's: https://www.unicode.org/license.txt\n")
        out.write('#include "unicode_tables.h"\n\n')
        out.write("// clang-format off\n")
        out.write(array("uint16_t", "qk_unicode_flag_blocks", flag_first))
        out.write(array("uint8_t", "qk_unicode_flag_values", flag_blocks))
        out.write(array("uint16_t", "qk_unicode_record_blocks", record_first))
        out.write(array("uint16_t", "qk_unicode_record_values", record_blocks))
        out.write(array("qk_unicode_record", "qk_unicode_records", ["{%d, %d, %d}" % r for r in records]))
        out.write(array("uint32_t", "qk_unicode_decompositions", parts_of_all))
        out.write(array("qk_unicode_composite", "qk_unicode_composites",
                        ["{%d, %d, %d}" % (a, b, c) for (a, b), c in sorted(composites.items())]))
        out.write(f"const int32_t qk_unicode_composite_count = {len(composites)};\n")
    print(f"{len(flag_blocks) // BLOCK} + {len(record_blocks) // BLOCK} blocks, {len(records)} records, "
          f"{len(parts_of_all)} decomposed, {len(composites)} composites, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
