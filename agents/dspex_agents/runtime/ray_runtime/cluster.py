"""Joining a Ray cluster, or starting one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray
from ray._private.services import find_gcs_addresses  # noqa: TID251 - Ray offers no public way to find its clusters
from ray._private.utils import read_ray_address  # noqa: TID251 - likewise
from ray.exceptions import RayError

from dspex_agents.errors import RuntimeUnavailableError
from dspex_agents.interrupts import interrupts_held
from dspex_agents.runtime.cluster_probe import why_silent
from dspex_agents.runtime.ray_runtime.head_probe import why_refused
from dspex_agents.runtime.ray_runtime.port import first_line
from dspex_agents.settings import Settings, apply_environment

NAMESPACE = "dspex"
_LOCAL = "local"
_OBJECT_STORE_BYTES = 200 * 1024 * 1024  # messages are small; Ray's own default is 30 % of the machine
_INIT_OPTIONS: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would rebuild the environment in every worker
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default; silences a warning in each worker
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine unasked
}


class _Connection:
    """Whether the cluster this process is connected to was started by it."""

    started_here = False


def connect_cluster(address: str | None = None, *, num_cpus: int | None = None, join: bool = True) -> str:
    """Join the Ray cluster at `address`, or the one running on this machine, or start one that ends with this process.

    Returns the cluster's address. Does nothing when this process is connected already; with `join=False` a cluster of
    its own is started in any other case. Raises RuntimeUnavailableError when there is none at `address`.
    """
    if ray.is_initialized():
        return _address()
    named = _named_address(address)
    if named != _LOCAL and join:
        try:
            return join_cluster(address)
        except RuntimeUnavailableError:
            if named is not None:
                raise
    apply_environment(_ENVIRONMENT)
    # broken off, Ray leaves processes of the half-started cluster behind
    with interrupts_held(), _termination_as_interrupt():
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **_INIT_OPTIONS,
        )
        _Connection.started_here = True
    return _address()


def join_cluster(address: str | None = None) -> str:
    """Join the Ray cluster at `address`, or the one running on this machine; start none.

    Returns the cluster's address, within a minute. Raises RuntimeUnavailableError, which names the address and what is
    wrong there, when there is none, it refuses our token, or no node of it runs on this machine.
    """
    if ray.is_initialized():
        return _address()
    apply_environment(_ENVIRONMENT)
    named = _named_address(address)
    found = _running_clusters() if named is None or named == _LOCAL else [named]
    silent = {at: why_silent(at) or why_refused(at) for at in found}
    answering = [at for at, reason in silent.items() if reason is None]
    where = "on this machine" if named is None or named == _LOCAL else f"at {named!r}"
    reason = "; ".join(f"{at}: {why}" for at, why in silent.items()) or "none is running"
    if answering:
        try:
            with _termination_as_interrupt():
                ray.init(address=answering[0], **_INIT_OPTIONS)
        except (ConnectionError, ValueError, RuntimeError, RayError) as error:
            reason = f"{answering[0]}: {first_line(error)}"
        else:
            return _address()
    other = "" if named is None else ", or leave the address out (--address, RAY_ADDRESS) to use a local one"
    raise RuntimeUnavailableError(
        f"No Ray cluster answers {where} ({reason}). Start one with `ray start --head`{other}."
    )


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let a request to terminate end this process as Ctrl-C does, once the block has connected it.

    Ray's own handler would exit without a word; `ray job stop` and Kubernetes ask so. A handler that was there stays.
    Only the main thread receives signals; in another one this does nothing.
    """
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt if before in (signal.SIG_DFL, None) else before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    pressed = signal.getsignal(signal.SIGINT)
    if callable(pressed):
        pressed(signal.SIGINT, frame)
    elif pressed == signal.SIG_DFL:
        sys.exit(number)


def _named_address(address: str | None) -> str | None:
    """Return the address the user named, in the call or in RAY_ADDRESS; None for `auto` and for none."""
    named = address or Settings.from_env().ray_address
    return None if named == "auto" else named


def _running_clusters() -> list[str]:
    """Return where clusters of this machine may run: the latest of `ray start`, which may be gone, then processes."""
    latest = read_ray_address()
    running = sorted(find_gcs_addresses())  # type: ignore[no-untyped-call] # Ray's own
    return list(dict.fromkeys([*([latest] if latest else []), *running]))


def started_here() -> bool:
    """Say whether this process started the cluster it is connected to, so that it ends with this process."""
    return _Connection.started_here


def disconnect_cluster() -> None:
    """Leave the cluster; one that this process started ends."""
    ray.shutdown()
    _Connection.started_here = False


def _address() -> str:
    return str(ray.get_runtime_context().gcs_address)
