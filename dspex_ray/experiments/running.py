"""`Experiments`: starts, looks at, stops and promotes experiments on the endpoints of one store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from dspex_ray.errors import UsageError
from dspex_ray.experiments.analysis import Analysis, analyse
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.experiments.store import ExperimentStore
from dspex_ray.experiments.verdicts import ratio_told, warnings
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.requests_kept.sums import Which
from dspex_ray.store import Store
from dspex_ray.store.plans import PlanRevision, PlanStore
from dspex_ray.traffic.plan import Arm, TrafficPlan

_LOOKS, _LEAST_LOOKS = 24, 6
_UNITS_READ = 600_000  # in all looks of a course together, about: some seconds for each 100,000


class Plans(Protocol):
    """Where the traffic plans of endpoints are kept: `PlanStore`."""

    def current(self, endpoint: str) -> PlanRevision:
        """Return the plan in force. Raises UnknownNameError for an endpoint that never had one."""
        ...

    def put(self, asked: PlanRevision, *, expected: int | None = None) -> PlanRevision:
        """Put a plan in force. Raises UsageError if the one in force is not the expected one."""
        ...


class Experiments:
    """The experiments of one store. `by` is who acts, `now` seconds since the epoch."""

    def __init__(self, store: Store, plans: Plans | None = None) -> None:
        self._store = store
        self._plans: Plans = PlanStore(store.database) if plans is None else plans
        self._kept, self._requests = ExperimentStore(store.database), RequestStore(store.database)

    def start(self, asked: Experiment, *, by: str, now: float, sticky_header: str | None = None) -> Experiment:
        """Put a plan in force that deals the arms, and count from then on. Who gets which arm is dealt anew.

        Versions are named by number, label, hash or `latest`, or as the one that the replicas were deployed with.
        Raises UnknownNameError for an endpoint that was never deployed or a version that is not in the store,
        ConfigurationError for arms that are one version, UsageError if the name is taken or another experiment runs
        there.
        """
        current = self._plans.current(asked.endpoint)
        weights = self._versions(current, asked.weights)
        plan = _with_arms(current.plan, weights)
        plan = replace(plan, salt=f"experiment {asked.name}", sticky_header=sticky_header or plan.sticky_header)
        one = replace(
            asked, weights=weights, status="running", started_at=now, ended_at=None, revision=current.revision + 1
        )
        self._kept.add(one, by=by, at=now)
        try:
            self._put(current, plan, by, now, f"experiment {one.name} started")
        except UsageError as error:
            self._kept.withdraw(one.name, str(error), by=by, at=now)
            raise
        return one

    def named(self, name: str) -> Experiment:
        """Return an experiment. Raises UnknownNameError, which names those there are."""
        return self._kept.named(name)

    def listed(self) -> list[Experiment]:
        """Return all experiments, the oldest first."""
        return self._kept.listed()

    def status(self, name: str) -> Analysis:
        """Return what an experiment shows. One may look as often as one likes. Raises UnknownNameError."""
        one = self._kept.named(name)
        return analyse(one, self._requests.sums(_which(one)))

    def warnings(self, analysis: Analysis) -> list[str]:
        """Return what one must know before one trusts the findings."""
        return warnings(analysis, self._plans.current(analysis.experiment.endpoint).revision)

    def course(self, name: str, looks: int | None = None) -> list[tuple[float, Analysis]]:
        """Return what the experiment showed at so many times since it began, by default 24, fewer where users are many.

        [] before its first request. Feedback counts as of now.
        """
        one = self._kept.named(name)
        span = self._requests.span(_which(one))
        if span is None:
            return []
        (first, last), now = span, self.status(name)
        if looks is None:
            units = sum(arm.units for arm in now.arms)
            looks = max(_LEAST_LOOKS, min(_LOOKS, _UNITS_READ // max(units, 1)))
        times = [first + (last - first) * (number + 1) / looks for number in range(looks - 1)]
        seen = [(at, analyse(one, self._requests.sums(_which(one, until=at)))) for at in times]
        return [*seen, (last, now)]

    def stop(self, name: str, *, by: str, now: float) -> Experiment:
        """End an experiment; the traffic stays as it is. Raises UnknownNameError, UsageError if it is over."""
        one = self._kept.named(name)
        if one.status != "running":
            raise UsageError(f"The experiment {name!r} is over: {_over(one)}.")
        after = one.over("stopped", now)
        self._kept.change(one, after, by=by, at=now, details={})
        return after

    def promote(self, name: str, arm: str | None = None, *, force: bool = False, by: str, now: float) -> Experiment:
        """Send everything to one arm, by default the surely better one, and end the experiment.

        Raises UnknownNameError, UsageError if it is over, if no arm is surely better and none is named, and, unless
        forced, if the arms do not get their shares or the arm is surely worse than the base in any metric.
        """
        analysis = self.status(name)
        one = analysis.experiment
        if one.status == "promoted":
            raise UsageError(f"The experiment {name!r} is over: {_over(one)}.")
        chosen = _chosen(analysis, arm, force=force)
        current = self._plans.current(one.endpoint)
        after = one.over("promoted", now, chosen)
        self._put(current, _with_arms(current.plan, {chosen: 1.0}), by, now, f"experiment {name} promoted {chosen}")
        self._kept.change(one, after, by=by, at=now, details={"arm": chosen, "forced": force})
        return after

    def running_since(self) -> dict[str, float]:
        """Return for each endpoint with a running experiment when that began: its requests are needed yet."""
        return {one.endpoint: one.started_at for one in self._kept.listed() if one.status == "running"}

    def _versions(self, current: PlanRevision, named: Mapping[str, float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, weight in named.items():
            known = name == current.carried
            version = name if known else str(self._store.version(current.program, name).number)
            if version in found:
                raise UsageError(f"The arms of an experiment are different versions; {name!r} is {version} again.")
            found[version] = weight
        return found

    def _put(self, current: PlanRevision, plan: TrafficPlan, by: str, now: float, why: str) -> PlanRevision:
        asked = replace(current, revision=0, kind="change", plan=plan, at=now, by=by, why=why)
        return self._plans.put(asked, expected=current.revision)


def _which(one: Experiment, until: float | None = None) -> Which:
    return Which(
        endpoint=one.endpoint,
        versions=one.arms,
        since=one.started_at,
        until=one.ended_at if until is None else until,
        revision=one.revision,
        by_request=one.by_request,
    )


def _with_arms(plan: TrafficPlan, weights: Mapping[str, float]) -> TrafficPlan:
    """Return the plan with these versions as its arms, and without a share those that rules name."""
    names = {one.version: one.name for one in plan.arms}
    arms = [Arm(version=version, weight=weight, name=names.get(version, "")) for version, weight in weights.items()]
    ruled = {rule.arm for rule in plan.rules}
    arms += [replace(one, weight=0.0) for one in plan.arms if one.name in ruled and one.version not in weights]
    return replace(plan, arms=tuple(arms))


def _chosen(analysis: Analysis, arm: str | None, *, force: bool) -> str:
    one = analysis.experiment
    if analysis.ratio_alarm and not force:
        raise UsageError(
            f"The arms of {one.name!r} do not get their shares: {ratio_told(analysis)}. Its comparisons cannot be "
            "trusted; find out why, or promote an arm all the same with --arm and --force."
        )
    chosen = analysis.winner if arm is None else arm
    if chosen is None:
        raise UsageError(f"No arm of {one.name!r} is surely better in {one.metrics[0]}; wait, or name one with --arm.")
    if chosen not in one.arms:
        raise UsageError(f"The experiment {one.name!r} has no arm {chosen!r}; it has {', '.join(one.arms)}.")
    worse = [found.metric for found in analysis.of(chosen) if found.verdict == "worse"]
    if worse and not force:
        raise UsageError(f"{chosen} is surely worse than {one.base} in {' and '.join(worse)}; --force promotes it yet.")
    return chosen


def _over(one: Experiment) -> str:
    return "it was stopped" if one.promoted is None else f"{one.promoted} was promoted"


def as_json(analysis: Analysis, told: list[str], warned: list[str]) -> dict[str, Any]:
    """Return what an experiment shows as JSON values."""
    return {
        **analysis.experiment.to_json(),
        "arms": [
            {"arm": arm.arm, "weight": arm.weight, "units": arm.units, "requests": arm.requests}
            for arm in analysis.arms
        ],
        "findings": [{**found.to_json(), "told": line} for found, line in zip(analysis.findings, told, strict=True)],
        "winner": analysis.winner,
        "sample_ratio": {"log_e": analysis.ratio_log_e, "alarm": analysis.ratio_alarm},
        "warnings": warned,
    }
