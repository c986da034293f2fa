"""`PartialObject`: the JSON object of a reply, read as it grows, with the rules of `loose_json` and `reply`.

| member | called when, by whom |
|---|---|
| `feed(text)` | for each new piece of the reply; says whether anything became known |
| `finish()` | once, at the end of the reply; likewise |
| `root` | after either; the object so far, None before its brace |
| `restarts` | likewise; how often what was known turned out to be something else than the answer |
| `partial()` | likewise; the object so far as JSON, for whoever needs no types |

Every character is read once, except after a brace that turns out not to begin an object: then reading goes back to the
character after it, at most 64 times in one reply. Nothing is raised: a reply that holds no object stays empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from dspex_ray.prompting.loose_json import Conflict, LooseJSONError
from dspex_ray.streaming.node import Kind, Node

_Reading: TypeAlias = Generator[None, str, None]

_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_KEY = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_TOKEN = re.compile(r"[\w.+\-]+")
_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s+")
_PLAIN = {quote: re.compile(rf"[^\\{quote}]+") for quote in ("'", '"')}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_HEX = re.compile(r"[0-9a-fA-F]{4}", re.ASCII)
_HEX_DIGITS = 4
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)  # the two halves of a surrogate pair
_DEEPEST = 64
_MOST_STARTS = 64
_KINDS: dict[str, Kind] = {"{": "object", "[": "array", "'": "string", '"': "string"}


class PartialObject:
    """Reads a reply piece by piece; see the module's table.

    `wanted` is asked about each whole object: whether it is the answer. Reading goes on behind one that is not.
    """

    def __init__(self, wanted: Callable[[dict[str, Any]], bool] | None = None) -> None:
        self.root: Node | None = None
        self.restarts = 0
        self._wanted = wanted or (lambda _: True)
        self._news = 0
        self._chunk, self._at = "", 0
        self._since: list[str] | None = None  # the text from the brace on, while it may have to be read again
        self._reading = self._read()
        next(self._reading)

    def feed(self, text: str) -> bool:
        """Read on and return whether anything became known that was not before."""
        before = self._news
        if text:
            self._reading.send(text)
        return self._news != before

    def finish(self) -> bool:
        """Note that the reply has ended: what began at a brace and was never closed is read again behind the brace."""
        before = self._news
        while self._since is not None:
            self._reading.throw(LooseJSONError("the reply ended"))
        return self._news != before

    def partial(self) -> dict[str, Any]:
        """Return what is known so far; empty before the object begins."""
        found: dict[str, Any] = self.root.plain() if self.root is not None else {}
        return found

    def _read(self) -> _Reading:
        yield from self._answer()
        self._chunk, self._since = "", None
        while True:
            yield  # whatever comes behind the answer

    def _answer(self) -> _Reading:
        """Return behind the first wanted object, or when there is no hope of one."""
        for _ in range(_MOST_STARTS):
            yield from self._to_brace()
            if self.root is not None:
                self._restart()
            self.root = root = Node("object")
            self._news += 1
            self._since = [self._chunk[self._at :]]
            try:
                yield from self._object(root, 0)
            except Conflict:
                return  # `parse_reply` refuses the whole reply
            except LooseJSONError:
                self._chunk, self._at = "".join(self._since)[1:], 0
                self._restart()
                continue
            self._since = None
            if self._wanted(root.plain()):
                return

    def _restart(self) -> None:
        if self.root is not None and self.root.members:
            self.restarts += 1
        self.root = None
        self._news += 1

    def _to_brace(self) -> _Reading:
        self._since = None
        while (at := self._chunk.find("{", self._at)) < 0:
            self._chunk, self._at = (yield), 0
        self._at = at

    def _more(self) -> _Reading:
        """Return with at least one character to read."""
        while self._at >= len(self._chunk):
            self._chunk, self._at = (yield), 0
            if self._since is not None:
                self._since.append(self._chunk)

    def _char(self) -> Generator[None, str, str]:
        """Return the next character that is no space, without taking it."""
        while True:
            yield from self._more()
            found = _SPACE.match(self._chunk, self._at)
            if found is None:
                return self._chunk[self._at]
            self._at = found.end()

    def _run(self, pattern: re.Pattern[str]) -> Generator[None, str, str]:
        """Return the longest run of the pattern's characters, which ends only before another one."""
        parts: list[str] = []
        while True:
            yield from self._more()
            found = pattern.match(self._chunk, self._at)
            if found is None:
                return "".join(parts)
            parts.append(found.group())
            self._at = found.end()

    def _value(self, node: Node, depth: int) -> _Reading:
        if depth > _DEEPEST:
            raise LooseJSONError("nested too deeply")
        if node.kind == "object":
            yield from self._object(node, depth)
        elif node.kind == "array":
            yield from self._array(node, depth)
        elif node.kind == "string":
            yield from self._string(node)
        else:
            yield from self._scalar(node)

    def _object(self, node: Node, depth: int) -> _Reading:
        self._at += 1
        while (yield from self._char()) != "}":
            key = yield from self._key()
            if (yield from self._char()) != ":":
                raise LooseJSONError("no colon")
            self._at += 1
            child = Node(_KINDS.get((yield from self._char()), "scalar"))
            known = node.members.setdefault(key, child)
            yield from self._value(child, depth + 1)
            if known is not child and _differ(known.plain(), child.plain()):
                raise Conflict(f"the key {key!r} is given twice")
            yield from self._separator("}")
        self._close(node)

    def _array(self, node: Node, depth: int) -> _Reading:
        self._at += 1
        while (char := (yield from self._char())) != "]":
            child = Node(_KINDS.get(char, "scalar"))
            node.value.append(child)
            yield from self._value(child, depth + 1)
            yield from self._separator("]")
        self._close(node)

    def _close(self, node: Node) -> None:
        self._at += 1
        self._done(node)

    def _done(self, node: Node) -> None:
        node.done = True
        self._news += 1

    def _separator(self, closing: str) -> _Reading:
        char = yield from self._char()
        if char == ",":
            self._at += 1
        elif char != closing:
            raise LooseJSONError(f"neither a comma nor {closing!r}")

    def _key(self) -> Generator[None, str, str]:
        if self._chunk[self._at] in _PLAIN:
            node = Node("string")
            yield from self._string(node)
            return node.text
        word = yield from self._run(_WORD)
        if not _KEY.fullmatch(word):
            raise LooseJSONError("no key")
        return word

    def _scalar(self, node: Node) -> _Reading:
        token = yield from self._run(_TOKEN)
        if token in _CONSTANTS:
            node.value = _CONSTANTS[token]
        elif _NUMBER.fullmatch(token):
            try:
                node.value = json.loads(token)
            except ValueError as error:  # more digits than Python turns into a number
                raise LooseJSONError(str(error)) from error
        else:
            raise LooseJSONError("no value")
        self._done(node)

    def _string(self, node: Node) -> _Reading:
        quote = self._chunk[self._at]
        self._at += 1
        while True:
            yield from self._more()
            if found := _PLAIN[quote].match(self._chunk, self._at):
                self._at = found.end()
                self._grow(node, found.group())
            elif self._chunk[self._at] == "\\":
                yield from self._escape(node)
            else:
                self._at += 1
                space = yield from self._run(_SPACE)
                # an apostrophe inside a word does not end the string; a quote before , : } ] does
                if self._chunk[self._at] in ",:}]":
                    self._done(node)
                    return
                self._grow(node, quote + space)

    def _grow(self, node: Node, text: str) -> None:
        node.value.append(text)
        self._news += 1

    def _escape(self, node: Node) -> _Reading:
        """Take one escape; the two of a surrogate pair are one character."""
        self._at += 1
        yield from self._more()
        if self._chunk[self._at] != "u":
            self._short_escape(node)
            return
        code = yield from self._unicode()
        while code in _HIGH:
            yield from self._more()
            if self._chunk[self._at] != "\\":
                break
            self._at += 1
            yield from self._more()
            if self._chunk[self._at] != "u":
                self._grow(node, chr(code))
                self._short_escape(node)
                return
            low = yield from self._unicode()
            if low in _LOW:
                code = 0x10000 + ((code - _HIGH.start) << 10) + (low - _LOW.start)
            else:
                self._grow(node, chr(code))
                code = low
        self._grow(node, chr(code))

    def _short_escape(self, node: Node) -> None:
        char = self._chunk[self._at]
        if char not in _ESCAPES:
            raise LooseJSONError("an unknown escape")
        self._at += 1
        self._grow(node, _ESCAPES[char])

    def _unicode(self) -> Generator[None, str, int]:
        self._at += 1
        digits = ""
        while len(digits) < _HEX_DIGITS:
            yield from self._more()
            digits += self._chunk[self._at]
            self._at += 1
        if not _HEX.fullmatch(digits):
            raise LooseJSONError("an unknown escape")
        return int(digits, 16)


def _differ(one: Any, other: Any) -> bool:
    return type(one) is not type(other) or bool(one != other)
