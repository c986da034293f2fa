"""The encoding of a text file: what its first bytes say, else UTF-8; never a guess that could garble a letter."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dspex_ray.errors import DataError

_MARKS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@contextmanager
def opened(path: Path, encoding: str | None, newline: str) -> Iterator[TextIO]:
    """Open a text file; without `encoding` by its byte order mark, else as UTF-8.

    Raises DataError for an encoding that is not known.
    """
    chosen = encoding or _marked(path)
    try:
        codecs.lookup(chosen)
    except LookupError:
        raise DataError(f"{path}: the encoding {chosen!r} is not known; try 'utf-8', 'cp1252' or 'utf-16'.") from None
    with path.open(encoding=chosen, newline=newline) as file:
        yield file


def wrong_encoding(path: Path, encoding: str | None, error: UnicodeDecodeError) -> DataError:
    """Return the error of a file that is not of its encoding, with line and byte, and what else it could be."""
    chosen = encoding or _marked(path)
    if chosen != "utf-8-sig":
        return DataError(f"{path} is not {chosen} text ({error.reason}); save it as UTF-8, or name its encoding.")
    before = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                place = f"byte {before + found.start}: {found.reason}; line {number}"
                text = line.decode("cp1252", "replace").strip()[:60]
                return DataError(
                    f"{path} is not UTF-8 text ({place}); save it as UTF-8, or name its encoding: with 'cp1252' the "
                    f"line begins {text!r}."
                )
            before += len(line)
    return DataError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8.")


def _marked(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")
