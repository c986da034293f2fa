"""One data file, several, or a pattern of names, as one table."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from dspex_ray.data_files.encoding import wrong_encoding
from dspex_ray.data_files.json_rows import read_json, read_json_lines
from dspex_ray.data_files.parquet import read_parquet
from dspex_ray.data_files.separated import checked_delimiter, read_separated
from dspex_ray.data_files.table import Row, Stream, Table, Take, collected
from dspex_ray.errors import DataError
from dspex_ray.problems import one_of

Reader: TypeAlias = Callable[[Path, str | None, str | None], Iterator[Stream]]
"""Called with a path, its encoding and its delimiter, both perhaps None; the file is open until the next step."""


def _tabbed(path: Path, encoding: str | None, delimiter: str | None) -> Iterator[Stream]:
    return read_separated(path, encoding, delimiter or "\t")


READERS: dict[str, Reader] = {
    ".csv": read_separated,
    ".tsv": _tabbed,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": read_parquet,
}


def read_files(
    paths: Sequence[str | Path], take: Take | None = None, *, encoding: str | None = None, delimiter: str | None = None
) -> Table:
    """Read data files by their endings, one after the other; a name may be a pattern such as `data/*.jsonl`.

    Raises DataError with file and line of what is malformed, and for a pattern that fits no file.
    """
    files = [file for path in paths for file in _matching(path)]
    if not files:
        raise DataError("No data file is given.")
    sign = checked_delimiter(delimiter)
    source = str(files[0]) if len(files) == 1 else f"{len(files)} files ({one_of([str(file) for file in files[:3]])})"
    for file in files:
        _check(file)
    streams = (stream for file in files for stream in _stream(file, encoding, sign))
    return collected(streams, source, take or Take())


def _stream(path: Path, encoding: str | None, delimiter: str | None) -> Iterator[Stream]:
    try:
        for stream in READERS[path.suffix.lower()](path, encoding, delimiter):
            # what goes wrong while the rows are read is raised here, not where they are used
            yield Stream(stream.columns, _read(stream, path, encoding))
    except UnicodeError as error:
        raise _undecodable(path, encoding, error) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(stream: Stream, path: Path, encoding: str | None) -> Iterator[Row]:
    try:
        yield from stream.rows
    except UnicodeError as error:
        raise _undecodable(path, encoding, error) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _undecodable(path: Path, encoding: str | None, error: UnicodeError) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return wrong_encoding(path, encoding, error)
    return DataError(f"{path} cannot be read as {encoding or 'text'}: {error}.")


def _matching(path: str | Path) -> list[Path]:
    text = str(path)
    if not glob.has_magic(text) or Path(text).exists():
        return [Path(path)]
    found = sorted(Path(name) for name in glob.glob(text, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    found = [file for file in found if file.is_file()]
    if not found:
        raise DataError(f"No file fits the pattern {text}.")
    return found


def _check(path: Path) -> None:
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path} is no data file known here; the endings are {one_of(sorted(READERS))}.")
    if not path.is_file():
        raise DataError(_absent(path))


def _absent(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; give a data file in it, or a pattern: {path / '*.jsonl'}."
    folder = path.parent
    if not folder.is_dir():
        return f"{path} does not exist; neither does the folder {folder}."
    names = [entry.name for entry in folder.iterdir() if entry.suffix.lower() in READERS]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(str(folder / name)) for name in near)}?" if near else ""
    return f"{path} does not exist; {hint or f'data files in {folder}: {one_of(sorted(names)) or None}.'}"
