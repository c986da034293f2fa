"""The commands on a cache's folder."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dspex_agents.settings import Settings
from dspex_ray.cli.options import Debug, Json
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError
from dspex_ray.lm.cache import CacheSettings, DiskCache

Folder = Annotated[
    str | None, typer.Option(help="The cache's folder; default: that of DSPEX_CACHE, else the user's cache folder.")
]
_MIB = 2**20
_LEAST_DIGITS = 6


def show(
    key: Annotated[str | None, typer.Argument(help="One entry, by the first digits of its key.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most entries to list.")] = 20,
    folder: Folder = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how much is kept and list entries; or show one entry's request and reply."""
    kept = _opened(folder)
    if key is not None:
        _show_entry(kept, key, json=json)
        return
    measured, entries = kept.measure(), list(itertools.islice(kept.entries(), limit))
    if json:
        listed = [{"key": e.key, "model": e.model, "at": e.at, "text": e.text} for e in entries]
        figures = {"entries": measured.entries, "bytes": measured.bytes, "max_bytes": kept.max_bytes}
        print_json({"folder": str(kept.folder), **figures, "listed": listed})
        return
    size, most = measured.bytes / _MIB, kept.max_bytes / _MIB
    told = f"{kept.folder}: {measured.entries} replies, {size:.1f} MiB of at most {most:.0f} MiB"
    out.print(told, markup=False, soft_wrap=True)
    if not entries:
        return
    table = Table("key", "model", "kept", "reply")
    for entry in entries:
        at = datetime.fromtimestamp(entry.at, UTC)
        table.add_row(entry.key[:12], entry.model, f"{at:%Y-%m-%d %H:%M}", entry.text[:60].replace("\n", " "))
    out.print(table)


def prune(
    max_mib: Annotated[float, typer.Option("--max-mib", min=0.0, help="What may stay, in MiB.")],
    folder: Folder = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove the least recently used replies until the rest fits."""
    _told(_opened(folder).prune(int(max_mib * _MIB)), json=json)


def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    folder: Folder = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove every reply that is kept."""
    kept = _opened(folder)
    if not yes and not json:
        typer.confirm(f"Remove {kept.measure().entries} replies from {kept.folder}?", abort=True)
    _told(kept.clear(), json=json)


def _opened(folder: str | None) -> DiskCache:
    settings = CacheSettings.of(folder or Settings.from_env().cache)
    path: Path = settings.path
    if not path.is_dir():
        raise UsageError(
            f"There is no cache at {path}. Keep replies with `configure(cache='disk')` or DSPEX_CACHE=disk."
        )
    return DiskCache(path, settings.disk_bytes)


def _show_entry(kept: DiskCache, digits: str, *, json: bool) -> None:
    if len(digits) < _LEAST_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise UsageError(f"An entry is named by at least {_LEAST_DIGITS} hex digits of its key, got {digits!r}.")
    found = [entry for entry in kept.entries() if entry.key.startswith(digits)]
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'No'} entries of {kept.folder} begin with {digits!r}; name exactly one.")
    (entry,) = found
    if json:
        print_json(entry.to_json())
        return
    for message in entry.request["messages"]:
        out.print(f"{message['role']}:", style="bold")
        out.print(message["content"], markup=False)
    out.print(f"{entry.model}:", style="bold green")
    out.print(entry.text, markup=False)


def _told(removed: int, *, json: bool) -> None:
    if json:
        print_json({"removed": removed})
        return
    out.print(f"{removed} {'reply' if removed == 1 else 'replies'} removed.")
