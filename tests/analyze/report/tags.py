"""A page as its reader finds it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Tags(HTMLParser):
    """All tags with their attributes, the text between them, and the targets of links and of sections."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.read_text("utf-8"))
        self.sections = {attributes.get("id") for tag, attributes in self.tags if tag == "section"}
        self.links = {(attributes.get("href") or "")[1:] for tag, attributes in self.tags if tag == "a"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
