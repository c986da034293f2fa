"""A cluster of three nodes on this machine, one of which is killed while requests run. A script of its own process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "agents_tests")]

import ray  # noqa: E402 - after the search path
from ray.cluster_utils import Cluster  # noqa: E402 - likewise
from test_chaos_ray import WORKERS, Load, tree_spec  # noqa: E402 - likewise
from test_ray_runtime import answers, root_pid  # noqa: E402 - likewise

from dspex_agents import System  # noqa: E402 - likewise
from dspex_agents.runtime.ray_runtime import start_ray_system  # noqa: E402 - likewise

QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
STORE = 80 * 1024 * 1024


def whole(system: System, dead: str) -> bool:
    if not answers(system):
        return False
    nodes = system.tree().agents()
    return len(nodes) == len(WORKERS) + 2 and all(n.agent is not None and n.node != dead for n in nodes)


def main() -> None:
    head = {"num_cpus": 2, "object_store_memory": STORE, "_system_config": QUICK, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    workers = [cluster.add_node(num_cpus=2, object_store_memory=STORE) for _ in range(2)]
    ray.init(address=cluster.address, namespace="dspex", log_to_driver=False, logging_level="ERROR")
    try:
        with start_ray_system(tree_spec()) as system:
            home = ray.get_runtime_context().get_node_id()
            there = {node.id: node.node for node in system.tree().agents()}
            if (strayed := {there["w3"], there["w4"]}) != {home}:
                raise SystemExit(f"agents that share a process are not on the node of the driver: {strayed}")
            victim = next(worker for worker in workers if worker.node_id in there.values() and worker.node_id != home)
            lost = victim.node_id
            root = root_pid(system)
            load = Load(system)
            cluster.remove_node(victim, allow_graceful=False)
            load.check()
            deadline = time.monotonic() + 60
            while not whole(system, lost):
                if time.monotonic() > deadline:
                    raise SystemExit(f"not whole again: {system.tree()}")
                time.sleep(0.1)
            if root_pid(system) != root:
                raise SystemExit("the root was restarted, although its node lives")
            Load(system).check()
        print("every request answered once, every agent on a living node")  # noqa: T201 - read by the test
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
