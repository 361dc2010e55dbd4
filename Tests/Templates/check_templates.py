"""Compares the library's rendering of chat templates with Jinja2's, over random conversations.

    python Tests/Templates/check_templates.py PROGRAM [--conversations N] [--seed S] [--mutations M] [TEMPLATE or directory ...]

PROGRAM is `.build/release/render-templates`. Without templates: those of Tests/Fixtures/chat-templates. Each template is
rendered as it is and in variants that Jinja treats alike or nearly so; `--mutations` also renders that many broken copies of
each, which must end in a text or an error as Jinja does, or at least in an error. `python -m pip download --no-deps trl` has
seventy templates more (trl/chat_templates).
"""

import argparse
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import conversations
import expressions
from oracle import Refusal, compile_template, render

FIXTURES = Path(__file__).parent.parent / "Fixtures" / "chat-templates"
UNSUPPORTED = 5


class Library:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question, ensure_ascii=False) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the program ended at {json.dumps(question, ensure_ascii=False)[:2000]}")
        return json.loads(answer)


def variants(text, r):
    """The template, and texts that mean the same or nearly so."""
    yield "as it is", text
    yield "CRLF", text.replace("\n", "\r\n")
    yield "CR", text.replace("\n", "\r")
    yield "newlines at the end", text + "\n\n\n"
    yield "escaped newlines", re.sub(r"'[^'\\{}%#]*'", lambda m: m.group().replace("\n", "\\n"), text)
    yield "comments", re.sub(r"(\{%-? )", lambda m: r.choice(["{# c #}", "{#- c -#}", "{#+ a\nb #}", ""]) + m.group(), text)
    yield "a default in front", "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" + text
    for _ in range(3):
        control = {"{%": r.choice(["{%", "{%-", "{%+"]), "{{": r.choice(["{{", "{{-"])}
        end = {"%}": r.choice(["%}", "-%}", "+%}"]), "}}": r.choice(["}}", "-}}"])}
        varied = re.sub(r"(\{[{%])[-+]?(?=\s)", lambda m: control[m.group(1)] if r.random() < 0.5 else m.group(), text)
        varied = re.sub(r"(?<=\s)[-+]?([%}]\})", lambda m: end[m.group(1)] if r.random() < 0.5 else m.group(), varied)
        yield "white space control", varied


def mutated(text, r):
    """A copy with a piece taken out, doubled, moved or replaced."""
    for _ in range(r.choice([1, 1, 2, 5])):
        a, b = sorted(r.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + r.choice([1, 3, 20]))
        piece = text[a:b]
        c = r.randrange(len(text) + 1)
        text = r.choice([
            text[:a] + text[b:], text[:b] + piece + text[b:], text[:c] + piece + text[c:],
            text[:a] + r.choice(["{{", "}}", "{%", "%}", "'", '"', "(", ")", "[", "]", "|", ".", "-", " ", "not ", "if ", "else", "0", "loop"]) + text[b:],
        ])
    return text


def compare(expected, actual, variables):
    """What is wrong with an answer; None: nothing. 'unsupported': an error that says so where Jinja renders."""
    if isinstance(expected, Refusal):
        if "error" not in actual:
            return f"Jinja refuses ({expected!r}), the library renders {actual['text'][:200]!r}"
        # The library shows a message on one line and not without end.
        if expected.said is not None and re.fullmatch(r"[ -~]{1,900}", expected.said) and not actual["error"].endswith(expected.said):
            return f"Jinja says {expected.said!r}, the library {actual['error']!r}"
        return None
    if "error" in actual:
        return ("unsupported" if actual["code"] == UNSUPPORTED else "refused") + ": " + actual["error"]
    if actual["text"] != expected:
        at = next((i for i, (a, b) in enumerate(zip(actual["text"], expected)) if a != b), min(len(actual["text"]), len(expected)))
        return f"at character {at}: {actual['text'][max(0, at - 60):at + 60]!r} is not {expected[max(0, at - 60):at + 60]!r}"
    return None


def taints(template_text, answer):
    """Pieces of the output that are said to be the template's although they are not in it: '\ue000' marks data."""
    data = answer["text"].encode()
    start = 0
    for end, source, _ in answer["runs"]:
        if source == "template" and "\ue000" in data[start:end].decode(errors="replace"):
            return data[start:end].decode(errors="replace")
        start = end
    return None


def marked(value, isKey=False):
    """The conversation with every text of data marked; names that templates look for stay as they are."""
    if isinstance(value, str):
        return value + "\ue000"
    if isinstance(value, list):
        return [marked(v) for v in value]
    if isinstance(value, dict):
        return {k: (v if k in ("role", "type") else marked(v)) for k, v in value.items()}
    return value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("templates", nargs="*", type=Path)
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--mutations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20)
    options = parser.parse_args()
    files = [
        f for path in options.templates or [FIXTURES] for f in (sorted(path.glob("*.jinja")) if path.is_dir() else [path])
    ]
    library = Library(options.program)
    counts = {"same text": 0, "same refusal": 0, "unsupported": 0, "wrong": 0}
    problems = {}

    def check(name, text, variables, isBroken=False, compiled=None):
        template = compiled or compile_template(text)
        expected = render(template, variables)
        actual = library.ask(variables=variables)
        problem = compare(expected, actual, variables)
        if problem is None:
            counts["same refusal" if isinstance(expected, Refusal) else "same text"] += 1
        elif isBroken and "error" in actual:
            counts["unsupported"] += 1
        else:
            counts["unsupported" if problem.startswith("unsupported") else "wrong"] += 1
            problems.setdefault((name, problem[:60] if "line" in problem else "text"), (problem, text, variables))
        return actual

    for file in files:
        text = file.read_bytes().decode()
        r = random.Random(f"{options.seed} {file.name}")
        for name, variant in variants(text, r):
            compiled = compile_template(variant)
            library.ask(template=variant)
            count = options.conversations if name == "as it is" else max(1, options.conversations // 5)
            for _ in range(count):
                variables = conversations.conversation(r)
                check(f"{file.name}, {name}", variant, variables, compiled=compiled)
                answer = library.ask(variables=marked(variables))
                if "text" in answer and (taint := taints(variant, answer)):
                    counts["wrong"] += 1
                    problems[(file.name, "origin")] = (f"data counts as the template's: {taint!r}", variant, variables)
        for _ in range(options.mutations):
            broken = mutated(text, r)
            library.ask(template=broken)
            check(f"{file.name}, broken", broken, conversations.conversation(r), isBroken=True)
    for expression in expressions.EXPRESSIONS:
        library.ask(template=expression)
        check("expression " + expression, expression, expressions.VARIABLES)
    for (name, _), (problem, text, variables) in list(problems.items())[: options.show]:
        print(f"{name}: {problem}\n    {json.dumps(variables, ensure_ascii=False)[:600]}")
    print(f"{len(files)} templates: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    sys.exit(1 if counts["wrong"] or any("broken" not in name for name, _ in problems) else 0)


main()
