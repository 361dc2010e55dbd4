"""Jinja2 with the settings that transformers gives it: what a chat template should render."""

import json
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.fromtimestamp(1_700_000_000)


class Generation(jinja2.ext.Extension):
    """`{% generation %}`, as transformers' AssistantTracker parses it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_content")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _content(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    result = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    result.filters["tojson"] = tojson
    result.globals["raise_exception"] = raise_exception
    result.globals["strftime_now"] = NOW.strftime
    return result


ENVIRONMENT = environment()


class Refusal:
    """An error; `said` is what the template itself said with raise_exception."""

    def __init__(self, error):
        self.kind = type(error).__name__
        self.text = str(error)
        self.said = self.text if type(error) is jinja2.exceptions.TemplateError else None

    def __repr__(self):
        return f"{self.kind}: {self.text}"


def compile_template(text):
    try:
        return ENVIRONMENT.from_string(text)
    except Exception as error:
        return Refusal(error)


def render(template, variables):
    if isinstance(template, Refusal):
        return template
    try:
        return template.render(**variables)
    except Exception as error:
        return Refusal(error)
