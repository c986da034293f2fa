"""The whole path: what replicas see of requests goes through a recorder into the store, and into the verdict."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from dspex_ray.experiments.verdicts import sentences
from dspex_ray.feedback.receiving import answer_feedback
from dspex_ray.requests_kept.recorder import RequestRecorder
from dspex_ray.requests_kept.request import RequestDetails
from dspex_ray.requests_kept.store_sink import StoreSink
from dspex_ray.serving.contract import Caller
from dspex_ray.traffic.dealing import deal
from tests.support.experiment_scene import Scene
from tests.support.kept_requests import outcome

USERS = 900


def test_rewards_that_users_give_decide_between_two_versions(tmp_path: Path) -> None:
    scene, seen = Scene(tmp_path / "s.db"), list[int]()
    one = scene.start(metrics=("score",))
    plan, rng = scene.plans.current("shop").plan, random.Random(4)

    async def serve() -> None:
        recorder = RequestRecorder(
            StoreSink(scene.requests), salt=scene.requests.salt(), also=lambda outcome: seen.append(outcome.status)
        )
        await recorder.start()
        for number in range(USERS):
            user = f"user {number % 300}"
            route = deal(plan, {}, user, str(number))
            details = RequestDetails(reason=route.reason, revision=one.revision)
            recorder.note(outcome(str(number), user=user, version=route.version, at=10.0 + number), details)
        await recorder.close()
        assert recorder.status()["written"] == USERS

    asyncio.run(serve())
    better = {row["request_id"]: row["version"] == "1" for row in scene.requests.rows("shop")}
    for name, is_better in better.items():
        body = {"request_id": name, "reward": rng.random() < (0.9 if is_better else 0.5)}
        assert answer_feedback(scene.requests, "shop", Caller(), body, at=2000.0) == {"request_id": name, "feedback": 1}
    found = scene.experiments.status("tone")
    assert (len(seen), sum(arm.units for arm in found.arms)) == (USERS, 300)
    assert (found.winner, found.crossed, found.ratio_alarm) == ("1", 0, False)
    assert sentences(found)[0].startswith("1 is better than carried in score by +")
