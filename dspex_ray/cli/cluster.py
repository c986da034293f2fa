"""The cluster a command works on, with the error of the command line when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dspex_agents.errors import RuntimeUnavailableError
from dspex_ray.errors import ClusterError


@contextmanager
def cluster(address: str | None, *, may_start: bool) -> Iterator[str]:
    """Be on the cluster at `address`, or the one of this machine, or (with `may_start`) a local one, and leave it.

    Yields its address. Raises ClusterError when there is none.
    """
    from dspex_agents.runtime.ray_runtime import connect_cluster, disconnect_cluster, join_cluster  # noqa: PLC0415 - loads ray

    try:
        found = connect_cluster(address) if may_start else join_cluster(address)
    except RuntimeUnavailableError as error:
        raise ClusterError(str(error)) from error
    try:
        yield found
    finally:
        disconnect_cluster()
