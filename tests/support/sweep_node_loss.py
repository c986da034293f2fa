"""A sweep on a cluster of three nodes on this machine, one of which is killed in the middle. A script of its own."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "agents_tests"), str(HERE.parent / "coordination_tests")]

import ray  # noqa: E402 - after the search path
from node_loss import QUICK, STORE  # noqa: E402 - likewise
from ray.cluster_utils import Cluster  # noqa: E402 - likewise
from test_sweep_chaos_ray import ROWS, check, order, persistent, recorded, spec  # noqa: E402 - likewise

from dspex_agents.database import Database  # noqa: E402 - likewise
from dspex_agents.runtime.ray_runtime import start_ray_system  # noqa: E402 - likewise
from dspex_coordination import SweepResult, SweepStore  # noqa: E402 - likewise


def main() -> None:
    head = {"num_cpus": 2, "object_store_memory": STORE, "_system_config": QUICK, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=2, object_store_memory=STORE) for _ in range(2)]
    ray.init(address=cluster.address, namespace="dspex", log_to_driver=False, logging_level="ERROR")
    url = f"sqlite:///{tempfile.mkdtemp(prefix='dspex-test-')}/store.db"
    store, answers = SweepStore(Database(url)), list[SweepResult]()
    moment = random.Random(3).randrange(60, ROWS - 120)
    try:
        with start_ray_system(spec()) as system:
            asker = threading.Thread(target=lambda: answers.append(persistent(system, order(url, "r"))))
            asker.start()
            deadline = time.monotonic() + 60
            while recorded(store, "r") < moment:
                if time.monotonic() > deadline:
                    raise SystemExit(f"only {recorded(store, 'r')} rows were recorded within a minute")
                time.sleep(0.05)
            there = {node.id: node.node for node in system.tree().agents()}
            lost = next(node for node in nodes if node.node_id in {there[name] for name in ("w1", "w2", "w3")})
            cluster.remove_node(lost, allow_graceful=False)
            asker.join(90)
        check(store, "r", answers[0], url)
        print("the same candidate, scores, decisions and bill as without the loss")  # noqa: T201 - read by the test
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
