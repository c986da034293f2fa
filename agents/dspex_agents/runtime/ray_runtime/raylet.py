"""Worker processes of Ray that wait for an actor, on this node. Ray has no public interface for them."""

from __future__ import annotations

import logging
import time
from typing import Any

import ray
from ray._private.grpc_utils import init_grpc_channel  # noqa: TID251 - Ray's own actors cannot ask for idle processes
from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

_log = logging.getLogger(__name__)
_ANSWER_S = 5.0
_START_S = 20.0
_LOOK_EVERY_S = 0.05
_KEEP_S = 600
_messages: Any = node_manager_pb2  # generated, without types
_NO_JOB = b"\xff" * 4


def keep_idle_workers(count: int) -> int:
    """Have so many unused worker processes ready, and return how many there are. Blocks up to 20 s.

    Ray lets an actor take over a process that has run nothing yet, never one that ran a task. It starts two of those
    when its first driver comes and does not replace them. It starts no more at once than the machine has cores.
    """
    try:
        return _kept(_raylet(), count)
    except Exception as error:  # noqa: BLE001 - private to Ray: without it a root takes longer to start, no more
        _log.warning("Ray's idle processes cannot be kept: %s", str(error).split("\n", 1)[0])
        return 0


def _kept(raylet: Any, count: int) -> int:
    deadline = time.monotonic() + _START_S
    while (idle := _idle(raylet)) < count and time.monotonic() < deadline:
        order = _messages.PrestartWorkersRequest(keep_alive_duration_secs=_KEEP_S, num_workers=1)
        raylet.PrestartWorkers(order, timeout=_ANSWER_S)
        while _idle(raylet) <= idle and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
    return idle


def _raylet() -> Any:
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call] # Ray's own
    node = next(node for node in nodes if node["NodeID"] == here)
    channel = init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
    return node_manager_pb2_grpc.NodeManagerServiceStub(channel)  # type: ignore[no-untyped-call] # generated


def _idle(raylet: Any) -> int:
    stats = raylet.GetNodeStats(_messages.GetNodeStatsRequest(), timeout=_ANSWER_S)
    return sum(worker.job_id == _NO_JOB for worker in stats.core_workers_stats)
