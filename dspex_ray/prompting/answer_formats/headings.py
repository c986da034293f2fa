"""The headings of a text that is an answer in sections: which lines are some, and what stands below them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

_FENCES = ("```", "~~~")
_MARKS = "#*_`[] \t"
_LONGEST = 120  # characters of a heading: a longer line is text
_END = "end"


class Way(IntEnum):
    """How plainly a line says that it is a heading, the plainest first."""

    HASHES = 0
    BOLD = 1
    BARE = 2


@dataclass(frozen=True, slots=True)
class Headings:
    """The names that may head a section, by how they are looked up, and the word that ends the last section."""

    names: Mapping[str, str]
    end: str

    @staticmethod
    def of(fields: Sequence[str]) -> Headings:
        """Return the headings of these fields: in any case, with spaces for underscores, where that is unambiguous."""
        forms = [_form(name) for name in fields]
        loose = {form: name for form, name in zip(forms, fields, strict=True) if forms.count(form) == 1}
        end = _END if _END not in forms else "end of the answer"
        return Headings({_form(end): "", **loose, **{name: name for name in fields}}, end)

    def named(self, words: str) -> str | None:
        """Return the field that words name, "" for the end, None for neither."""
        bare = words.strip(_MARKS)
        found = self.names.get(bare)
        return found if found is not None else self.names.get(_form(bare))

    def in_line(self, line: str) -> tuple[Way, str, str] | None:
        """Return how a line is a heading, of which field, and the rest of the line; None for any other line."""
        bare = line.strip()
        way = (
            Way.HASHES
            if bare.startswith(("##", "[["))
            else Way.BOLD
            if bare.startswith(("#", "**", "__"))
            else Way.BARE
        )
        sign = "]]" if bare.startswith("[[") else ":"
        head, found, rest = bare.partition(sign)
        name = self.named(head.lstrip("-") if way is Way.BARE else head) if len(head) <= _LONGEST else None
        if name is None or (way is Way.BARE and not (found and name)):
            return None
        rest = rest.removeprefix(":").strip()
        if way is Way.BOLD and head.count(bare[:2]) == 1:  # the emphasis goes on behind the colon
            rest = rest[2:] if rest.startswith(bare[:2]) else rest.removesuffix(bare[:2])
        return way, name, rest.strip()

    def stands_alone(self, text: str) -> bool:
        """Whether a text in a section can be told from headings, its fences closed."""
        fenced = False
        for line in text.split("\n"):
            if line.lstrip().startswith(_FENCES):
                fenced = not fenced
            elif not fenced and (found := self.in_line(line)) and found[0] is not Way.BARE:
                return False
        return not fenced


def _way(line: str) -> Way:
    if line.startswith(("##", "[[")):
        return Way.HASHES
    return Way.BOLD if line.startswith(("#", "**", "__")) else Way.BARE


def ways(text: str, headings: Headings, *, bare: bool = True) -> Iterator[dict[str, list[str]]]:
    """Yield the sections of a text, for each way to read it that finds headings, the plainest first.

    Bold headings count beside those with hashes; those within fences only without any outside, `bare` ones only without
    any other, and not where they are ruled out.
    """
    lines = text.split("\n")
    marks = list(_marks(lines, headings))
    chosen = [
        [mark for mark in marks if mark.way is Way.HASHES and not mark.fenced],
        [mark for mark in marks if mark.way is not Way.BARE and not mark.fenced],
    ]
    if not chosen[1]:
        chosen.append([mark for mark in marks if mark.way is not Way.BARE])
    if bare and not chosen[-1]:
        chosen.append(marks)
    yield from (_divided(lines, one) for one in chosen if one)


@dataclass(frozen=True, slots=True)
class _Mark:
    line: int
    way: Way
    name: str
    rest: str
    fenced: bool


def _marks(lines: Sequence[str], headings: Headings) -> Iterator[_Mark]:
    fenced = False
    for number, line in enumerate(lines):
        if line.lstrip().startswith(_FENCES):
            fenced = not fenced
        elif found := headings.in_line(line):
            yield _Mark(number, *found, fenced)


def _divided(lines: Sequence[str], marks: Sequence[_Mark]) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    ends = [mark.line for mark in marks[1:]] + [len(lines)]
    for mark, end in zip(marks, ends, strict=True):
        if mark.name:
            content = "\n".join([mark.rest, *lines[mark.line + 1 : end]]).strip()
            sections.setdefault(mark.name, []).append(content)
    return sections


def _form(words: str) -> str:
    return words.strip(_MARKS).casefold().replace(" ", "_").replace("-", "_")
