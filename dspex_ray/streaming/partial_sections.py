"""`PartialSections`: the headed sections of a reply in the answer format `text`, read as they grow.

The contract is that of `PartialObject`. A text is known as far as it is there, without a line that may still become a
heading; everything else when its section is whole. Headings count only if they are as plain as the first one; a
plainer one starts the reading over. What this cannot see before the end (repeated sections, a reply without any
heading) is left to whoever reads the whole reply.
"""

from __future__ import annotations

from typing import Any

from dspex_ray.prompting.answer_formats.headings import Headings, Way
from dspex_ray.prompting.answer_formats.response_schema import response_schema
from dspex_ray.prompting.answer_formats.section_values import Kind, kind_of, read_value
from dspex_ray.prompting.loose_json import LooseJSONError
from dspex_ray.schema import Schema
from dspex_ray.streaming.node import Node

_FENCES = ("```", "~~~")
_SIGNS = "#[*_`~-"  # how a line may begin that is a heading or a fence


class PartialSections:
    """Reads a reply piece by piece; see the module's docstring."""

    def __init__(self, output: type[Schema]) -> None:
        schema = response_schema(output)
        definitions = schema.get("$defs", {})
        self._kinds = {name: kind_of(node, definitions) for name, node in schema["properties"].items()}
        self._headings = Headings.of(tuple(self._kinds))
        self.root: Node | None = None
        self.restarts = 0
        self._way: Way | None = None
        self._fenced = False
        self._line: list[str] = []  # what is there of the present line, and not yet in a section
        self._line_begun = False  # whether its beginning is in the section already
        self._section: _Section | None = None
        self._news = False

    def feed(self, text: str) -> bool:
        """Read on and return whether anything became known that was not before."""
        self._news = False
        *ended, rest = text.split("\n")
        for part in ended:
            self._line.append(part)
            self._end_line()
        if rest:
            self._line.append(rest)
            self._show_line()
        return self._news

    def finish(self) -> bool:
        """Read the last line and end the last section; likewise."""
        self._news = False
        self._end_line()
        self._end_section()
        return self._news

    def _show_line(self) -> None:
        """Give the section what is there of the present line, unless it may be a heading."""
        if self._section is None or self._way is Way.BARE:
            return
        if not self._line_begun:
            if not (begun := "".join(self._line).lstrip()) or begun[0] in _SIGNS:
                return
            self._line_begun = True
        self._grow("".join(self._line))
        self._line = []

    def _end_line(self) -> None:
        line, self._line = "".join(self._line), []
        begun, self._line_begun = self._line_begun, False
        if not begun:
            if line.lstrip().startswith(_FENCES):
                self._fenced = not self._fenced
            elif not self._fenced and (found := self._headings.in_line(line)) and self._head(*found):
                return
        self._grow(line + "\n")

    def _head(self, way: Way, name: str, rest: str) -> bool:
        """Begin a section if the heading counts, and return whether it does."""
        if self._way is not None and way > self._way:
            return False
        if self._way is not None and way < self._way and self.root is not None:
            self.restarts += bool(self.root.members)
            self.root, self._section = None, None
        self._way = way
        self._end_section()
        if self.root is None:
            self.root = Node("object")
        known = name in self.root.members
        self._section = None if known or not name else _Section(self._kinds[name])
        if self._section is not None:
            self._name = name
            self._grow(rest + "\n")
        return True

    def _grow(self, text: str) -> None:
        section = self._section
        if section is None or self.root is None:
            return
        self._news |= section.grow(text)
        if section.node is not None:
            self.root.members.setdefault(self._name, section.node)

    def _end_section(self) -> None:
        section, self._section = self._section, None
        if section is None or self.root is None:
            return
        if (node := section.end()) is not None:
            self.root.members[self._name] = node
            self._news = True


class _Section:
    """The content of one section, without the white space around it."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._parts: list[str] = []
        self._space = ""
        self.node: Node | None = None

    def grow(self, text: str) -> bool:
        """Take more of it and return whether anything became known."""
        body = text.rstrip()
        if not body:
            self._space += text if self._parts else ""
            return False
        part = self._space + body if self._parts else body.lstrip()
        self._space = text[len(body) :]
        self._parts.append(part)
        if self.node is None and self._kind.takes == "text" and part[0] != '"' and len(self._parts) == 1:
            self.node = Node("string")  # one in quotes may be a JSON string, which only its end shows
        if self.node is None:
            return False
        self.node.value.append(part)
        return True

    def end(self) -> Node | None:
        """Return the value; None for an empty section, and for one that is refused."""
        if not self._parts:
            return None
        if self.node is None:
            try:
                value: Any = read_value("".join(self._parts), self._kind)
            except LooseJSONError:
                return None
            self.node = Node("string" if isinstance(value, str) else "scalar")
            self.node.value = [value] if isinstance(value, str) else value
        self.node.done = True
        return self.node
