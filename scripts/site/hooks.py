"""What MkDocs is told beside its configuration: links that leave docs/, and pictures that follow the page's color scheme."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/qwensft/qwensft/blob/main/"
PAGES = {"CHANGELOG.md": "changelog.md", "include/qwensft.h": "c-reference.md"}


def title(page):
    return (ROOT / "docs" / page).read_text().split("\n", 1)[0].removeprefix("# ")


def on_page_markdown(markdown, **_):
    """[…](../README.md) is a file of the repository, unless the site has it as a page. [data.md](data.md) is named as the page is."""
    markdown = re.sub(r"\[[\w-]+\.md\]\(([\w-]+\.md)", lambda match: f"[{title(match[1])}]({match[1]}", markdown)
    return re.sub(r"\]\(\.\./([^)#]+)", lambda match: "](" + PAGES.get(match[1], REPOSITORY + match[1]), markdown)


def on_page_content(html, **_):
    """An SVG in an <img> sees the system's color scheme only; inside of the page it sees the one that the reader chose."""

    def inline(match):
        svg = (ROOT / "docs" / match[1]).read_text()
        style = "[data-md-color-scheme=slate] svg.figure"
        return re.sub(r"@media \(prefers-color-scheme: dark\)\{svg\.figure(\{[^}]*\})\}", style + r"\1", svg)

    return re.sub(r'<img [^>]*src="(images/[\w-]+\.svg)"[^>]*>', inline, html)
