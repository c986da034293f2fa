"""What a docstring says of a function and of its arguments: Google's, numpy's and Sphinx's forms."""

from __future__ import annotations

import inspect
import re

_GOOGLE = re.compile(r"^(Args|Arguments|Parameters):\s*$")
_NUMPY = re.compile(r"^(Parameters|Args|Arguments)\s*$")
_SPHINX = re.compile(r"^:param\s+(?:[^:]*\s)?(\*{0,2}\w+):\s*(.*)$")
_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?|See Also)(:\s*)?$")
_ENTRY = re.compile(r"^(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


def described(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Return the text before the first section, and each argument's description by name."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    end = next((i for i in range(len(lines)) if _starts_section(lines, i)), len(lines))
    return "\n".join(lines[:end]).strip(), _arguments(lines[end:])


def _starts_section(lines: list[str], i: int) -> bool:
    line = lines[i]
    if line.startswith((":param", ":return", ":raise", ":type", ":rtype")):
        return True
    found = _SECTION.match(line)
    return bool(found) and (bool(found and found[2]) or _underlined(lines, i))


def _underlined(lines: list[str], i: int) -> bool:
    return i + 1 < len(lines) and bool(re.fullmatch(r"-{3,}\s*", lines[i + 1]))


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for i, line in enumerate(lines):
        if sphinx := _SPHINX.match(line):
            found[sphinx[1].lstrip("*")] = [sphinx[2], *_indented(lines[i + 1 :], 1)]
        elif _GOOGLE.match(line):
            found.update(_google(_indented(lines[i + 1 :], 1)))
        elif _NUMPY.match(line) and _underlined(lines, i):
            found.update(_numpy(lines[i + 2 :]))
    texts = {name: " ".join(part.strip() for part in parts if part.strip()) for name, parts in found.items()}
    return {name: text for name, text in texts.items() if text}


def _indented(lines: list[str], least: int) -> list[str]:
    """Return the lines at the beginning that are indented or empty."""
    body: list[str] = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) < least:
            break
        body.append(line)
    return body


def _google(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name, outer = "", 0
    for line in inspect.cleandoc("\n".join(["", *lines])).splitlines():
        entry = _ENTRY.match(line)
        if entry and len(line) - len(line.lstrip()) == outer:
            name = entry[1]
            found[name] = [entry[2]]
        elif name:
            found[name].append(line)
    return found


def _numpy(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for i, line in enumerate(lines):
        if _starts_section(lines, i) or _underlined(lines, i):
            break
        if line.strip() and not line.startswith(" "):
            names = [one.strip() for one in line.partition(":")[0].split(",")]
            found.update({one: [] for one in names if one.isidentifier()})
        else:
            for one in names:
                found.get(one, []).append(line)
    return found
