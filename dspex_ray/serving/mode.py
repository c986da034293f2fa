"""The environment of Ray Serve's HAProxy throughput mode: which variables, and why each."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from dspex_ray.errors import ConfigurationError

# How long a stopping replica stays reachable. HAProxy learns of it and has reloaded after 0.3 to 0.8 s; Ray's default
# of 30 s is meant for cloud load balancers and is the reason why a shutdown takes 30 s.
REPLICA_DRAIN_S = 1.0

# A UNIX socket's path has at most 107 bytes; HAProxy's is this folder, a node id of 56 digits and `admin.sock`.
_MAX_FOLDER_LENGTH = 107 - len("/") - 56 - len("/metrics.sock")

_CPUS_PER_PROXY_THREAD = 4
_FEWEST_CONNECTIONS = 256
_MOST_CONNECTIONS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPorts:
    """Ports HAProxy and its fallback need besides the public one; Ray's defaults are fixed and may be taken."""

    stats: int
    metrics: int
    fallback: int


def serve_environment(*, folder: str, ports: FrontPorts, cpus: int, file_limit: int) -> dict[str, str]:
    """Return the variables Serve's controller, proxies and replicas must have when they start.

    They need not be in the driver's or the cluster's environment: given to the controller they reach all its actors.
    `cpus` and `file_limit` (open files a process may have) are the head node's.
    """
    connections = min(
        _MOST_CONNECTIONS, max(_FEWEST_CONNECTIONS, int(file_limit * 0.39))
    )  # two files each, and its own
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "dspex_ray.serving.edge.middlewares",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(REPLICA_DRAIN_S),
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": str(REPLICA_DRAIN_S),
        # After a reload the old HAProxy process still serves the connections clients kept open, with the servers it
        # knew. One refused connection tells it that a replica is gone, and it takes the fallback; with Ray's default of
        # three it would wait 1 s before each. (Closing those connections instead, `CLOSE_SPREAD_TIME`, cost requests.)
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, cpus // _CPUS_PER_PROXY_THREAD)),
        "RAY_SERVE_HAPROXY_MAXCONN": str(connections),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
    }


def private_folder(temporary: str, user_id: int, port: int) -> Path:
    """Return the folder for HAProxy's files, one for each user and public port; `/tmp` when `temporary` is too long."""
    name = f"dspex-serve-{user_id}-{port}"
    folder = Path(temporary) / name
    return folder if len(str(folder)) <= _MAX_FOLDER_LENGTH else Path("/tmp") / name  # noqa: S108 - ownership is checked


def make_private(folder: Path, user_id: int) -> None:
    """Create the folder for this user alone: HAProxy's admin socket in it is writable for everyone who gets there.

    Raises ConfigurationError when somebody else made it first, or it is a link.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user_id:
        msg = f"{folder} belongs to another user. Have it removed, or serve on another port."
        raise ConfigurationError(msg)
    folder.chmod(0o700)
