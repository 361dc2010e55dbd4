#!/usr/bin/env python3
"""c_reference.py HEADER: the header as a page of Markdown: its opening, then every declaration under a heading of its own."""

import re
import sys
from pathlib import Path


def text_of(comment):
    """A comment without its stars."""
    lines = comment.strip().removeprefix("/*").removesuffix("*/").split("\n")
    return "\n".join(re.sub(r"^ \* ?", "", line) for line in lines).strip("\n")


def prose(text):
    """Markdown of a comment: names of the API are code, what is indented is as it stands."""
    out = []
    for line in text.split("\n"):
        if not line.startswith("    "):
            line = line.strip()
            line = re.sub(r"(?<![`\w])(sft_\w+|SFT_\w+|struct_size|size_t|int32_t|NULL)\b", r"`\1`", line)
            line = re.sub(r"<(\|\w+\||\w+)>|\{% \w+ %\}", r"`\g<0>`", line)
            line = line.replace("*/", "").replace("_", r"\_") if "`" not in line else line
        out.append(line)
    return "\n".join(out)


def opening(text):
    """The comment that the header begins with: lines in capitals are headings."""
    text = re.sub(r"^qwensft\.h - .*\n", "", text)
    parts = re.split(r"^([A-Z ]{5,})$", text, flags=re.M)
    page = [prose(parts[0])]
    for title, body in zip(parts[1::2], parts[2::2]):
        if title == "SECTIONS":
            continue
        if title == "A PROGRAM":
            program, command = body.strip("\n").rsplit("\n\n", 1)
            body = "```c\n" + re.sub(r"^    ", "", program, flags=re.M) + "\n```\n\n" + command + "\n"
            page.append(f"## A program\n\n{body}")
        else:
            page.append(f"## {title.capitalize()}\n\n{prose(body)}")
    return "\n\n".join(page)


def name_of(declaration):
    for pattern in (r"^#define (\w+)", r"\b(sft_\w+)\([^*]", r"\(\*(\w+)\)", r"(\w+);\s*(?:SFT_ENUM|$)", r"\} (\w+);", r"^(SFT_ENUM)"):
        if match := re.search(pattern, declaration):
            return match[1]
    raise SystemExit(f"c_reference.py does not know what this declares:\n{declaration}")


def blocks(text):
    """What empty lines divide, outside of braces."""
    whole = ""
    for part in re.split(r"\n\s*\n", text.strip()):
        whole = f"{whole}\n\n{part}" if whole else part
        if whole.count("{") == whole.count("}"):
            yield whole
            whole = ""


def page(header):
    head, rest = re.match(r"(/\*.*?\*/)(.*)", header, re.S).groups()
    # Declarations want the width, and have a table of contents of their own.
    out = ["---\nhide: [navigation]\n---\n\n# C reference\n", "Made of `include/qwensft.h`, which holds the same in the same order.\n", opening(text_of(head))]
    rest = rest.split('extern "C" {\n#endif\n', 1)[1].split("#ifdef __cplusplus")[0]
    comment = ""
    # A comment, an empty line, a declaration that may have comments inside, or preprocessor lines.
    for block in blocks(rest):
        section = re.match(r"/\* ---- (\d+\. .*?) -+ \*/$", block.strip())
        if section:
            out.append(f"## {section[1]}")
            continue
        leading = re.match(r"(/\*(?:.|\n)*?\*/)\n?", block)
        if leading:
            comment, block = text_of(leading[1]), block[leading.end() :]
        if not block.strip():
            continue
        if block.startswith("SFT_ENUM"):  # belongs to the type before it
            out.append(f"```c\n{block.strip()}\n```")
        else:
            out.append(f"### {name_of(block)}\n\n{prose(comment)}\n\n```c\n{block.strip()}\n```")
        comment = ""
    return "\n\n".join(out) + "\n"


if __name__ == "__main__":
    print(page(Path(sys.argv[1]).read_text()), end="")
