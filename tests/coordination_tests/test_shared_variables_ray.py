"""A shared variable on Ray: its process is killed, and value, observers and the worker's configuration go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_samples import Scaler, Watcher
from test_ray_runtime import process_of

from dspex_agents import Backoff, ChildSpec, Database, SnapshotStore, SupervisorSpec, SystemSpec
from dspex_agents.runtime.ray_runtime import start_ray_system
from dspex_coordination import Float, Space
from dspex_coordination.shared_variables import Leader, Propose, ReadValue, SharedVariable, TunedTaskAgent, Versioned

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]
SPACE = Space({"factor": Float(0.0, 10.0, default=2.0)})


def spec_of(folder: Path) -> SystemSpec:
    store = SnapshotStore(Database(f"sqlite:///{folder / 'state.db'}"), "shared")
    quick = Backoff(initial_s=0.05, max_s=0.2)
    kwargs = {"domain": SPACE, "policy": Leader("sweep"), "store": store}
    children = (
        ChildSpec(id="best", start=SharedVariable, kwargs=kwargs, isolation="own", backoff=quick),
        ChildSpec(id="eye", start=Watcher, kwargs={"observed": ("best",)}, depends_on=("best",)),
        ChildSpec(
            id="scaler", start=TunedTaskAgent, kwargs={"worker": Scaler, "variable": "best"}, depends_on=("best",)
        ),
    )
    top = SupervisorSpec(id="top", children=children, intensity=20)
    return SystemSpec(name=f"shared-{time.time_ns()}", supervisor=top, spare_hosts=1)


def test_a_running_system_takes_new_values_and_forgets_none_when_the_variable_dies(
    tmp_path: Path, wait: Callable[..., None]
) -> None:
    with start_ray_system(spec_of(tmp_path)) as system:
        before = process_of(system, "scaler")
        assert system.ask("scaler", 3.0) == 6.0
        assert system.ask("best", Propose("sweep", {"factor": 5.0})) == Versioned(1, {"factor": 5.0})
        wait(lambda: system.ask("scaler", 3.0) == 15.0, what="the new factor")
        os.kill(process_of(system, "best"), signal.SIGKILL)
        assert system.ask("best", ReadValue(), retry_safe=True) == Versioned(1, {"factor": 5.0})
        assert system.ask("best", Propose("sweep", {"factor": 7.0}, expected=1), retry_safe=True).version == 2
        wait(lambda: system.ask("scaler", 3.0) == 21.0, what="the factor after the restart")
        wait(lambda: [version for version, _ in system.ask("eye", "seen")] == [0, 1, 2], what="each version once")
        assert process_of(system, "scaler") == before
