"""A store with an endpoint, experiments on it, and users that ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dspex_agents.database import Database
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.experiments.running import Experiments
from dspex_ray.requests_kept.request import RequestDetails
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.store import Store
from dspex_ray.store.plans import PlanRevision, PlanStore
from dspex_ray.traffic.dealing import deal
from dspex_ray.traffic.plan import TrafficPlan
from tests.support.kept_requests import kept_row

HALVES = {"carried": 0.5, "1": 0.5}


class Scene:
    """A store with an endpoint `shop` that was deployed with the version `carried`, and version 1 beside it."""

    def __init__(self, path: Path) -> None:
        self.store = Store(Database(str(path)))
        self.store.save_version({"program": "shop:Route"}, {}, now=0.0)
        self.plans, self.requests = PlanStore(self.store.database), RequestStore(self.store.database)
        self.deploy("shop", TrafficPlan.all_to("carried"))
        self.experiments = Experiments(self.store)

    def deploy(self, endpoint: str, plan: TrafficPlan) -> None:
        self.plans.put(
            PlanRevision(
                endpoint=endpoint,
                revision=0,
                kind="deploy",
                program="shop:Route",
                carried="carried",
                plan=plan,
                at=0.0,
                by="",
            )
        )

    def start(self, name: str = "tone", **others: Any) -> Experiment:
        asked = Experiment(**{"name": name, "endpoint": "shop", "weights": HALVES, **others})
        return self.experiments.start(asked, by="ann", now=5.0)

    def answer(self, one: Experiment, count: int, rates: dict[str, float], seed: int = 1, begin: float = 10.0) -> None:
        """Let users ask once each, one a second, dealt as the plan says."""
        self.requests.write(dealt(self.plans.current(one.endpoint), count, rates, seed, begin))


def dealt(
    plan: PlanRevision, count: int, rates: dict[str, float], seed: int, begin: float = 10.0
) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    details = RequestDetails(reason="sticky", revision=plan.revision)
    for number in range(count):
        user = f"{seed} {number}"
        version = deal(plan.plan, {}, user, "").version
        status = 200 if rng.random() < rates[version] else 502
        told = {"user": user, "endpoint": plan.endpoint, "version": version, "at": begin + number, "status": status}
        yield kept_row(user, details=details, latency_s=float(rng.lognormal()), **told)
