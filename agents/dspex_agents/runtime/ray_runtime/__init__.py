"""The Ray runtime: the root is a named actor, every host another one. Only this package of this floor imports ray."""

from dspex_agents.runtime.ray_runtime.cluster import (
    NAMESPACE,
    connect_cluster,
    disconnect_cluster,
    join_cluster,
    started_here,
)
from dspex_agents.runtime.ray_runtime.systems import find_ray_system, ray_systems, start_ray_system
from dspex_agents.runtime.ray_runtime.warm_pool import cool_down, warm_up

__all__ = [
    "NAMESPACE",
    "connect_cluster",
    "cool_down",
    "disconnect_cluster",
    "find_ray_system",
    "join_cluster",
    "ray_systems",
    "start_ray_system",
    "started_here",
    "warm_up",
]
