"""`TrafficPlan`: how the requests of one endpoint are shared among versions of its program."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

from dspex_ray.errors import ConfigurationError
from dspex_ray.traffic.reading import Reading

Match = Literal["equals", "prefix"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110, section 5.1, in lower case
_TOLERANCE = 1e-6
_MOST = 100  # arms, rules and shadows each


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One version's share of the requests. `name` is what metrics and experiments call it, by default the version."""

    version: str
    weight: float
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Sends requests whose header has this value, or begins with it, to one arm, whatever the weights."""

    name: str
    header: str
    value: str
    arm: str
    match: Match = "equals"

    def takes(self, headers: Mapping[str, str]) -> bool:
        """Whether the rule decides this request."""
        given = headers.get(self.header)
        if given is None:
            return False
        return given == self.value if self.match == "equals" else given.startswith(self.value)

    def hides(self, other: Rule) -> bool:
        """Whether no request would ever reach `other` after this rule."""
        if self.header != other.header:
            return False
        if self.match == "equals":
            return other.match == "equals" and self.value == other.value
        return other.value.startswith(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A version that gets a copy of this share of the requests; its answers are recorded and reach nobody."""

    version: str
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """The arms share the requests by their weights, which sum to 1; rules come first, in their order.

    `sticky_header` names the header that says who asks, where no token does; without either each request is drawn by
    itself. `salt` decides, with the user, who gets which arm: another salt deals anew. Raises ConfigurationError with
    everything that is wrong: weights that do not sum, names that occur twice, rules that hide one another or name no
    arm.
    """

    arms: tuple[Arm, ...]
    rules: tuple[Rule, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    sticky_header: str | None = None
    salt: str = ""
    wrong: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if found := [*self.wrong, *_faults(self)]:
            raise ConfigurationError(f"The traffic plan cannot be: {'; '.join(found)}.")

    @classmethod
    def all_to(cls, version: str) -> TrafficPlan:
        """Return the plan that sends everything to one version; its arm is `main` if the version is no arm's name."""
        return cls(arms=(Arm(version=version, weight=1.0, name="" if _NAME.fullmatch(version) else "main"),))

    @classmethod
    def split(cls, weights: Mapping[str, float], **rest: Any) -> TrafficPlan:
        """Return the plan that shares by weight, such as `split({"3": 0.9, "4": 0.1})`."""
        return cls(arms=tuple(Arm(version=version, weight=weight) for version, weight in weights.items()), **rest)

    @property
    def versions(self) -> tuple[str, ...]:
        """All versions that must be live, in the order of the plan, each once."""
        return tuple(dict.fromkeys([*(arm.version for arm in self.arms), *(one.version for one in self.shadows)]))

    def arm(self, name: str) -> Arm:
        """Return the arm of this name. Raises ConfigurationError, which names those there are."""
        found = next((arm for arm in self.arms if arm.name == name), None)
        if found is None:
            known = ", ".join(arm.name for arm in self.arms)
            raise ConfigurationError(f"The traffic plan has no arm {name!r}; it has {known}.")
        return found

    def weighted(self, weights: Mapping[str, float]) -> TrafficPlan:
        """Return the plan with other weights, by the name of the arm; all else as it is."""
        for name in weights:
            self.arm(name)
        return replace(self, arms=tuple(replace(arm, weight=weights.get(arm.name, arm.weight)) for arm in self.arms))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "arms": [{"version": arm.version, "weight": arm.weight, "name": arm.name} for arm in self.arms],
            "rules": [
                {"name": one.name, "header": one.header, "value": one.value, "arm": one.arm, "match": one.match}
                for one in self.rules
            ],
            "shadows": [{"version": one.version, "share": one.share} for one in self.shadows],
            "sticky_header": self.sticky_header,
            "salt": self.salt,
        }

    @classmethod
    def from_json(cls, given: Any) -> TrafficPlan:
        """Return the plan of JSON values. Raises ConfigurationError, which names each wrong place by its path."""
        reading = Reading()
        known = reading.fields(given, "", ("arms", "rules", "shadows", "sticky_header", "salt"), required=("arms",))
        arms = [
            Arm(
                version=reading.text(one.get("version"), f"{path}.version"),
                weight=reading.number(one.get("weight"), f"{path}.weight"),
                name=reading.text(one.get("name", ""), f"{path}.name"),
            )
            for path, one in reading.items(known, "arms", ("version", "weight", "name"), ("version", "weight"))
        ]
        rules = [
            Rule(
                name=reading.text(one.get("name"), f"{path}.name"),
                header=reading.text(one.get("header"), f"{path}.header").lower(),
                value=reading.text(one.get("value"), f"{path}.value"),
                arm=reading.text(one.get("arm"), f"{path}.arm"),
                match="prefix" if reading.one_of(one, "match", ("equals", "prefix"), path) == "prefix" else "equals",
            )
            for path, one in reading.items(
                known, "rules", ("name", "header", "value", "arm", "match"), ("name", "header", "value", "arm")
            )
        ]
        shadows = [
            Shadow(
                version=reading.text(one.get("version"), f"{path}.version"),
                share=reading.number(one.get("share", 1.0), f"{path}.share"),
            )
            for path, one in reading.items(known, "shadows", ("version", "share"), ("version",))
        ]
        sticky = known.get("sticky_header")
        return cls(
            arms=tuple(arms),
            rules=tuple(rules),
            shadows=tuple(shadows),
            sticky_header=None if sticky is None else reading.text(sticky, "sticky_header").lower(),
            salt=reading.text(known.get("salt", ""), "salt"),
            wrong=tuple(reading.wrong),
        )


def _faults(plan: TrafficPlan) -> Iterator[str]:
    if not plan.arms:
        yield "arms: there is none, so that nobody would be answered"
    for what, many in (("arms", plan.arms), ("rules", plan.rules), ("shadows", plan.shadows)):
        if len(many) > _MOST:
            yield f"{what}: {len(many)} are more than {_MOST}"
    yield from _arm_faults(plan.arms)
    yield from _rule_faults(plan)
    yield from (f"shadows: {one!r} occurs twice" for one in _repeated([one.version for one in plan.shadows]))
    for shadow in plan.shadows:
        if not 0 < shadow.share <= 1:
            yield f"the share of shadow {shadow.version!r} is above 0 and at most 1, got {shadow.share!r}"
    if plan.sticky_header is not None and not _HEADER.fullmatch(plan.sticky_header):
        yield f"sticky_header: {plan.sticky_header!r} is no header's name in lower case"


def _arm_faults(arms: Sequence[Arm]) -> Iterator[str]:
    for arm in arms:
        if not _NAME.fullmatch(arm.name):
            yield f"{arm.name!r} is no arm's name: up to 64 lower-case letters, digits, dots, dashes and underscores"
        if not (math.isfinite(arm.weight) and 0 <= arm.weight <= 1):
            yield f"the weight of arm {arm.name!r} is between 0 and 1, got {arm.weight!r}"
    yield from (f"arms: the name {name!r} occurs twice" for name in _repeated([arm.name for arm in arms]))
    total = math.fsum(arm.weight for arm in arms)
    if arms and not abs(total - 1) <= _TOLERANCE:
        given = ", ".join(f"{arm.name} {arm.weight:g}" for arm in arms)
        yield f"the weights sum to {total:g}, not to 1 ({given})"


def _rule_faults(plan: TrafficPlan) -> Iterator[str]:
    names = {arm.name for arm in plan.arms}
    yield from (f"rules: the name {name!r} occurs twice" for name in _repeated([rule.name for rule in plan.rules]))
    for rule in plan.rules:
        if not _NAME.fullmatch(rule.name):
            yield f"{rule.name!r} is no rule's name: as for arms"
        if not _HEADER.fullmatch(rule.header):
            yield f"rule {rule.name!r}: {rule.header!r} is no header's name in lower case"
        if rule.arm not in names:
            yield f"rule {rule.name!r} sends to {rule.arm!r}, which is no arm of the plan"
    for first, second in combinations(plan.rules, 2):
        if first.hides(second):
            yield f"rules {first.name!r} and {second.name!r} overlap: no request would ever reach the second"


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
