"""`EndpointTraffic`: changes who gets which version of an endpoint; replicas follow within a second."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.errors import UsageError
from dspex_ray.store import Store
from dspex_ray.store.plans import PlanKind, PlanRevision, PlanStore
from dspex_ray.store.ramps import KeptRamp, RampStore
from dspex_ray.traffic.plan import Arm, Match, Rule, Shadow, TrafficPlan
from dspex_ray.traffic.ramp import DEFAULT_GUARDS, DEFAULT_STEPS, Guard, Ramp, RampState, RampStep


@dataclass(frozen=True, slots=True)
class EndpointTraffic:
    """The traffic of the endpoint `name`. Every change is kept with who made it (`by`), when and why.

    Versions are named by number, label, hash or `latest`, and kept by their number; the one that the replicas were
    deployed with goes by its own name too. Every method raises UnknownNameError for an endpoint that was never
    deployed and for a version that is not in the store, ConfigurationError for a plan that cannot be, and UsageError if
    another change came in between; then nothing has changed.
    """

    name: str
    store: Store
    by: str = ""
    clock: Clock = field(default_factory=SystemClock)

    def show(self) -> PlanRevision:
        """Return the plan in force."""
        return self._plans.current(self.name)

    def history(self) -> list[PlanRevision]:
        """Return every plan that was ever in force, oldest first."""
        self.show()
        return self._plans.revisions(self.name)

    def split(self, weights: Mapping[str, float], *, sticky_header: str | None = None, why: str = "") -> PlanRevision:
        """Share requests by weight, such as `{"3": 0.9, "4": 0.1}`; rules, shadows and all else stay.

        With a `sticky_header` who sends the same value gets the same version, for as long as the weights stay.
        """
        now = self.show()
        arms = tuple(Arm(version=self._version(now, named), weight=weight) for named, weight in weights.items())
        header = now.plan.sticky_header if sticky_header is None else sticky_header.lower()
        return self._put(now, replace(now.plan, arms=arms, sticky_header=header), why)

    def rule(
        self, name: str, *, header: str, value: str, to: str, match: Match = "equals", why: str = ""
    ) -> PlanRevision:
        """Send requests whose header has this value to one version, whatever the weights; a rule of this name goes.

        A version that has no share yet gets one of 0.
        """
        now = self.show()
        version = self._version(now, to)
        arms = now.plan.arms
        arm = next((one for one in arms if one.version == version), None)
        if arm is None:
            arm = Arm(version=version, weight=0.0)
            arms = (*arms, arm)
        rule = Rule(name=name, header=header.lower(), value=value, arm=arm.name, match=match)
        others = tuple(one for one in now.plan.rules if one.name != name)
        return self._put(now, replace(now.plan, arms=arms, rules=(*others, rule)), why)

    def remove_rule(self, name: str, *, why: str = "") -> PlanRevision:
        """Take a rule away. Raises UsageError if there is none of this name."""
        now = self.show()
        others = tuple(one for one in now.plan.rules if one.name != name)
        if len(others) == len(now.plan.rules):
            known = ", ".join(one.name for one in now.plan.rules) or "none"
            raise UsageError(f"{self.name} has no rule {name!r}; known: {known}.")
        return self._put(now, replace(now.plan, rules=others), why)

    def shadow(self, version: str, share: float = 1.0, *, why: str = "") -> PlanRevision:
        """Let a version answer copies of this share of the requests, for nobody; a share of 0 ends it."""
        now = self.show()
        number = self._version(now, version)
        others = tuple(one for one in now.plan.shadows if one.version != number)
        added = () if share == 0 else (Shadow(version=number, share=share),)
        return self._put(now, replace(now.plan, shadows=(*others, *added)), why)

    def rollback(self, *, why: str = "") -> PlanRevision:
        """Put the plan before in force again; once more, and the one before that.

        Raises UsageError if there was no other.
        """
        now, before = self.show(), self._plans.before(self.name)
        for version in before.plan.versions:
            self._version(now, version)  # one that was deployed by itself is gone with its replicas
        return self._plans.roll_back(self.name, by=self._who, at=self.clock.now(), why=why, expected=now.revision)

    def ramp(
        self,
        to: str,
        *,
        steps: tuple[RampStep, ...] = DEFAULT_STEPS,
        guards: tuple[Guard, ...] = DEFAULT_GUARDS,
        why: str = "",
    ) -> KeptRamp:
        """Let a version take over from the one with the greatest share, step by step; back at once if it is worse.

        The cluster's agent goes on with it, whatever becomes of this process; any other change of the traffic ends it.
        Raises UsageError if a ramp runs already, ConfigurationError for steps or guards that cannot be.
        """
        now = self.show()
        version, arms = self._version(now, to), now.plan.arms
        new = next((arm for arm in arms if arm.version == version), None)
        if new is None:
            new = Arm(version=version, weight=0.0)
            arms = (*arms, new)
        ramp = Ramp(old=max(now.plan.arms, key=lambda arm: arm.weight).name, new=new.name, steps=steps, guards=guards)
        plan = ramp.plan(replace(now.plan, arms=arms), steps[0].weight)
        told = f"ramp to {new.name}: step 1 of {len(steps)}" + (f", {why}" if why else "")
        asked = self._asked("change", now.program, now.carried, plan, told)
        state = RampState(since=self.clock.now())
        begun = KeptRamp(endpoint=self.name, number=0, revision=0, by=self._who, ramp=ramp, state=state)
        return RampStore(self.store.database).begin(begun, asked, now.revision)

    def last_ramp(self) -> KeptRamp:
        """Return the last ramp, running or ended. Raises UsageError if there was none."""
        self.show()
        last = RampStore(self.store.database).last(self.name)
        if last is None:
            raise UsageError(f"{self.name} has had no ramp.")
        return last

    def deployed(self, program: str, version: str) -> PlanRevision:
        """Note that all replicas carry this version of a program now, and send everything to it."""
        plan = TrafficPlan.all_to(version)
        return self._plans.put(self._asked("deploy", program, version, plan, f"deployed version {version}"))

    @property
    def revision(self) -> int:
        """The number of the plan in force, 0 before the first."""
        return self._plans.number(self.name)

    @property
    def _plans(self) -> PlanStore:
        return PlanStore(self.store.database)

    @property
    def _who(self) -> str:
        try:
            return self.by or getpass.getuser()
        except (OSError, KeyError):  # a user without a name, as in some containers
            return "unknown"

    def _version(self, now: PlanRevision, named: str) -> str:
        if named == now.carried:
            return named
        return str(self.store.version(now.program, named).number)

    def _put(self, now: PlanRevision, plan: TrafficPlan, why: str) -> PlanRevision:
        asked = self._asked("change", now.program, now.carried, plan, why)
        return self._plans.put(asked, expected=now.revision)

    def _asked(self, kind: PlanKind, program: str, carried: str, plan: TrafficPlan, why: str) -> PlanRevision:
        return PlanRevision(
            endpoint=self.name,
            revision=0,
            kind=kind,
            program=program,
            carried=carried,
            plan=plan,
            at=self.clock.now(),
            by=self._who,
            why=why,
        )
