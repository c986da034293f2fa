"""The registry: what it takes and refuses, what it finds, and its indexes against a plain scan."""

from __future__ import annotations

import math
import pickle
import time
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dspex_agents.errors import SpecError
from dspex_agents.supervision.load_order import LoadOrder
from dspex_agents.supervision.registry import Criterion, Query, Registration, Registry

NAMES = st.sampled_from("abcdefgh")
CAPABILITIES = st.frozensets(st.sampled_from(["x", "y", "z"]))
HEALTH = st.sampled_from(["healthy", "degraded", "unhealthy"])
AMOUNTS = st.dictionaries(st.sampled_from(["memory", "gpu"]), st.sampled_from([0.0, 1.0, 2.0]))
METADATA = st.dictionaries(st.sampled_from(["m", "n"]), st.sampled_from([0, 1, "one", None]))
PLACES = st.sampled_from(["p", "q"])
LOADS = st.sampled_from([0.0, 0.5, 1.0, 2.0])
MAYBE, ONE = st.none(), st.just(1)
WORKER = Registration(
    "worker",
    epoch=3,
    capabilities=frozenset({"task", "gpu"}),
    node="n1",
    host="h1",
    load=0.5,
    resources={"memory": 100.0},
    metadata={"model": {"name": "small", "size": 7}, "tags": ["a"]},
    partition="acme",
)


def filled(*registrations: Registration) -> Registry:
    registry = Registry()
    registry.add_all(registrations)
    return registry


def names(registry: Registry, **criteria: Any) -> list[str]:
    return [registration.name for registration in registry.find(Query(**criteria))]


# the defects of the systems before this one ---------------------------------------------------------------------------
def test_bug_a_leaders_metadata_update_overwrote_its_required_fields() -> None:
    registry = filled(WORKER)
    assert registry.update("worker", 3, {"metadata": {"leader": True, "term": 4}})
    assert registry.lookup("worker") == replace(WORKER, metadata={**WORKER.metadata, "leader": True, "term": 4})
    for required in ("name", "epoch", "node", "host", "load", "partition"):
        with pytest.raises(SpecError, match=rf"{required!r} cannot be changed, only health, capabilities"):
            registry.update("worker", 3, {required: None})
    for required in ("health", "capabilities", "resources", "metadata"):
        with pytest.raises(SpecError, match=rf"{required} must .*None"):
            registry.update("worker", 3, {required: None})
    assert names(registry, capabilities={"task", "gpu"}, node="n1", partition="acme") == ["worker"]


def test_bug_least_loaded_never_updated_the_load_so_that_all_work_went_to_one_agent() -> None:
    registry = filled(*(Registration(f"w{n}", capabilities=frozenset({"task"})) for n in range(4)))
    given: list[str] = []
    for _ in range(12):
        (pick,) = registry.find(Query(capabilities=frozenset({"task"}), limit=1))
        given.append(pick.name)
        registry.set_load(pick.name, pick.load + 1)
    assert {name: given.count(name) for name in given} == {f"w{n}": 3 for n in range(4)}


# incarnations ---------------------------------------------------------------------------------------------------------
def test_of_several_incarnations_only_the_latest_counts() -> None:
    registry = filled(WORKER)
    assert not registry.add(replace(WORKER, epoch=2, node="elsewhere"))
    assert not registry.update("worker", 2, {"health": "unhealthy"})
    assert not registry.remove("worker", 2)
    assert registry.lookup("worker") == WORKER
    later = replace(WORKER, epoch=4, node="n2", capabilities=frozenset({"task"}))
    assert registry.add(later)
    assert [names(registry, node=node) for node in ("n1", "n2")] == [[], ["worker"]]
    assert registry.count_by_capability() == {"task": 1}
    assert registry.remove("worker", 4)
    assert not registry.remove("worker", 4)
    assert (len(registry), "worker" in registry, registry.count_by_capability()) == (0, False, {})


def test_what_an_agent_says_of_itself_while_it_starts_counts_once_it_is_registered() -> None:
    registry = filled(WORKER)
    assert registry.update("worker", 4, {"health": "degraded", "metadata": {"model": None, "a": 1}})
    assert registry.update("worker", 4, {"metadata": {"b": 2}})
    assert registry.lookup("worker") == WORKER, "the incarnation before it is not touched"
    registry.add(replace(WORKER, epoch=4))
    expected = {"tags": ["a"], "a": 1, "b": 2}
    assert registry.lookup("worker") == replace(WORKER, epoch=4, health="degraded", metadata=expected)
    assert names(registry, health="healthy") == []


def test_what_a_start_that_failed_said_is_forgotten() -> None:
    registry = Registry()
    registry.update("worker", 3, {"health": "degraded"})
    registry.remove("worker", 3)
    registry.update("worker", 5, {"health": "degraded"})
    registry.update("worker", 6, {"metadata": {"n": 6}})
    assert not registry.update("worker", 5, {"metadata": {"n": 5}})
    registry.add(replace(WORKER, epoch=3))
    assert registry.lookup("worker") == WORKER
    registry.add(replace(WORKER, epoch=6))
    found = registry.lookup("worker")
    assert found is not None
    assert (found.health, found.metadata["n"]) == ("healthy", 6)


# bad input ------------------------------------------------------------------------------------------------------------
def test_a_bad_change_names_every_bad_field_and_changes_nothing() -> None:
    registry = filled(WORKER)
    changes = {
        "health": "well",
        "capabilities": {"task", 3},
        "resources": {"memory": -1, "gpu": math.nan, "cpu": True, 5: 1.0},
        "metadata": {"": 1},
        "colour": "red",
    }
    with pytest.raises(SpecError) as caught:
        registry.update("worker", 3, changes)
    text = str(caught.value)
    for part in (
        "registration of 'worker'",
        "health must be one of 'healthy', 'degraded', 'unhealthy', got 'well'",
        "a capability must be text, got 3",
        "resource 'memory' must be a finite number, at least 0, got -1",
        "resource 'gpu' must be a finite number, at least 0, got nan",
        "resource 'cpu' must be a finite number, at least 0, got True",
        "a name in resources must be text, got 5",
        "a name in metadata must be text, got ''",
        "'colour' cannot be changed, only health, capabilities, resources, metadata",
    ):
        assert part in text
    assert registry.lookup("worker") == WORKER


@pytest.mark.parametrize("value", ["task", 3, None])
def test_capabilities_that_are_no_set_are_refused(value: Any) -> None:
    with pytest.raises(SpecError, match="capabilities must be a set of texts"):
        filled(WORKER).update("worker", 3, {"capabilities": value})
    with pytest.raises(SpecError, match="capabilities must be a set of texts"):
        Query(capabilities=value)


def test_a_bad_registration_is_refused_and_with_it_the_whole_batch() -> None:
    registry = Registry()
    bad = replace(WORKER, name="", node=None, load=math.inf, health="fine", resources=[("memory", 1)])  # type: ignore[arg-type]
    with pytest.raises(SpecError) as caught:
        registry.add_all([WORKER, bad])
    for part in ("name must not be empty", "node must be text", "load must be", "health must be", "resources must map"):
        assert part in str(caught.value)
    assert len(registry) == 0


@pytest.mark.parametrize("load", [math.nan, -0.1, math.inf, "1", None])
def test_a_load_that_is_no_amount_is_refused_before_it_spoils_the_order(load: Any) -> None:
    registry = filled(WORKER)
    with pytest.raises(SpecError, match="load of 'worker' must be a finite number"):
        registry.set_load("worker", load)
    assert not registry.set_load("nobody", 1.0)
    assert registry.lookup("worker") == WORKER


def test_metadata_is_bounded_and_can_be_removed() -> None:
    registry = filled(WORKER)
    many = {str(n): n for n in range(98)}
    registry.update("worker", 3, {"metadata": many})
    with pytest.raises(SpecError, match="at most 100 pieces of metadata, it would have 101; remove some with None"):
        registry.update("worker", 3, {"metadata": {"more": 1}})
    registry.update("worker", 3, {"metadata": {**dict.fromkeys(many), "more": 1}})
    found = registry.lookup("worker")
    assert found is not None
    assert found.metadata == {**WORKER.metadata, "more": 1}
    with pytest.raises(SpecError, match="at most 100"):
        registry.update("starting", 1, {"metadata": {str(n): n for n in range(101)}})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"path": "", "operator": "eq"}, r"path must be names joined by dots .*got ''"),
        ({"path": "metadata..x", "operator": "eq"}, r"path must be names joined by dots"),
        ({"path": None, "operator": "eq"}, r"path must be names joined by dots"),
        ({"path": "colour", "operator": "eq"}, r"path 'colour' must begin with one of name, epoch, capabilities"),
        ({"path": "load", "operator": "between"}, r"operator must be one of 'eq', 'neq', .* got 'between'"),
        ({"path": "load", "operator": "in", "value": 3}, r"operator 'in' needs a collection of values, got 3"),
        ({"path": "name", "operator": "not_in", "value": "abc"}, r"operator 'not_in' needs a collection"),
    ],
)
def test_a_bad_criterion_is_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        Criterion(**{"value": 1, **fields})


def test_a_bad_query_names_every_bad_field() -> None:
    with pytest.raises(SpecError) as caught:
        Query(
            capabilities={1},  # type: ignore[arg-type]
            health="well",  # type: ignore[arg-type]
            node=3,  # type: ignore[arg-type]
            min_resources={"memory": math.nan},
            where=Criterion("load", "lt", 1),  # type: ignore[arg-type]
            limit=0,
        )
    for part in ("capabilities", "health", "node must be text", "'memory': nan", "where must be", "limit must be at"):
        assert part in str(caught.value)
    for limit in (-1, 1.5):
        with pytest.raises(SpecError, match="limit must be at least 1"):
            Query(limit=limit)  # type: ignore[arg-type]


# finding --------------------------------------------------------------------------------------------------------------
def test_a_query_finds_those_that_have_all_of_it_least_loaded_first() -> None:
    registry = filled(
        WORKER,
        replace(WORKER, name="a", load=0.5, resources={"memory": 50.0}),
        replace(WORKER, name="b", load=0.0, health="degraded", capabilities=frozenset({"task"})),
        replace(WORKER, name="c", load=2.0, health="unhealthy", node="n2", partition="other"),
    )
    assert names(registry) == ["b", "a", "worker", "c"]
    assert names(registry, limit=3) == ["b", "a", "worker"]
    assert names(registry, capabilities={"task", "gpu"}) == ["a", "worker", "c"]
    assert names(registry, health="healthy") == ["a", "worker"]
    assert names(registry, health="degraded") == ["b", "a", "worker"]
    assert names(registry, health="unhealthy", node="n2") == ["c"]
    assert names(registry, partition="acme", min_resources={"memory": 100}) == ["b", "worker"]
    assert names(registry, min_resources={"disk": 1}) == []
    assert names(registry, where=(Criterion("load", "gte", 0.5), Criterion("load", "lt", 2))) == ["a", "worker"]
    assert names(registry, where=[Criterion("name", "in", ("a", "nobody", "c"))], limit=1) == ["a"]


@pytest.mark.parametrize(
    ("path", "operator", "value", "fits"),
    [
        ("metadata.model.name", "eq", "small", True),
        ("metadata.model.name", "neq", "small", False),
        ("metadata.model.size", "gt", 7, False),
        ("metadata.model.size", "gte", 7, True),
        ("metadata.model.size", "lt", 8, True),
        ("metadata.model.size", "lte", 6, False),
        ("metadata.model.name", "in", {"small", "large"}, True),
        ("metadata.model.name", "not_in", ["small"], False),
        ("capabilities", "eq", {"gpu", "task"}, True),
        ("resources.memory", "gt", 99, True),
        ("epoch", "eq", 3, True),
        # a value that is not there, or not comparable, fits `neq` and `not_in` alone
        ("metadata.model.colour", "eq", None, False),
        ("metadata.model.colour", "neq", "red", True),
        ("metadata.tags.first", "not_in", ("a",), True),
        ("metadata.model.name", "gt", 3, False),
        ("metadata.tags", "in", {"a"}, False),
        ("metadata.tags", "not_in", {"a"}, True),
    ],
)
def test_a_criterion_compares_the_value_at_its_path(path: str, operator: Any, value: Any, fits: bool) -> None:  # noqa: FBT001 - a table
    criterion = pickle.loads(pickle.dumps(Query(where=(Criterion(path, operator, value),))))
    assert bool(filled(WORKER).find(criterion)) == fits


def test_the_summary_tells_health_places_and_how_loaded_all_are() -> None:
    registry = filled(
        WORKER,
        replace(WORKER, name="a", load=0.0, health="degraded"),
        replace(WORKER, name="b", load=2.5, node="n2", partition=""),
    )
    assert asdict(registry.summary()) == {
        "agents": 3,
        "by_health": {"healthy": 2, "degraded": 1, "unhealthy": 0},
        "by_node": {"n1": 2, "n2": 1},
        "by_partition": {"acme": 2, "": 1},
        "mean_load": 1.0,
        "max_load": 2.5,
        "idle": 1,
        "overloaded": 1,
        "resources": {"memory": 300.0},
    }
    assert registry.count_by_capability() == {"task": 3, "gpu": 3}
    assert Registry().summary().mean_load == 0.0


def test_twenty_thousand_agents_take_a_hundred_thousand_loads_and_are_still_found_quickly() -> None:
    registry = filled(*(Registration(f"w{n:05}", capabilities=frozenset({"task"})) for n in range(20_000)))
    began = time.process_time()
    for n in range(100_000):
        registry.set_load(f"w{n % 20_000:05}", float(n % 7))
    for _ in range(1000):
        (found,) = registry.find(Query(capabilities=frozenset({"task"}), limit=1))
        registry.set_load(found.name, found.load + 1)
    took_s = time.process_time() - began
    assert took_s < 5.0, "half a second here; a scan of everybody for each of these searches takes twenty"


@given(
    start=st.dictionaries(st.integers(0, 99), LOADS, min_size=60),
    steps=st.lists(st.tuples(st.integers(0, 99), MAYBE | LOADS, st.booleans())),
)
def test_names_stand_in_the_order_of_their_load_however_few_have_moved(
    start: dict[int, float], steps: list[tuple[int, float | None, bool]]
) -> None:
    order, loads = LoadOrder(), {f"w{n}": load for n, load in start.items()}
    for name, load in loads.items():
        order.set(name, load)
    for n, load, look in [*steps, (0, None, True)]:
        name = f"w{n}"
        if load is None:
            order.remove(name)
            loads.pop(name, None)
        else:
            order.set(name, load)
            loads[name] = load
        if look:
            assert list(order) == sorted(loads, key=lambda name: (loads[name], name))


# against a plain scan -------------------------------------------------------------------------------------------------
CRITERIA = st.one_of(
    st.builds(
        Criterion, st.sampled_from(["load", "metadata.m"]), st.sampled_from(["gt", "lte", "eq", "neq"]), st.just(1)
    ),
    st.builds(Criterion, st.just("name"), st.sampled_from(["in", "not_in"]), st.sets(NAMES)),
    st.builds(Criterion, st.just("name"), st.just("eq"), NAMES),
)
QUERIES = st.builds(
    Query,
    capabilities=CAPABILITIES,
    health=MAYBE | HEALTH,
    node=MAYBE | PLACES,
    partition=MAYBE | PLACES,
    min_resources=AMOUNTS,
    where=st.lists(CRITERIA, max_size=2).map(tuple),
    limit=MAYBE | st.integers(1, 4),
)
RANKS = {"healthy": 0, "degraded": 1, "unhealthy": 2}


def has_all(agent: dict[str, Any], query: Query) -> bool:
    """Say whether the model's agent fits: written out once more, from the documentation."""
    if not set(query.capabilities) <= set(agent["capabilities"]):
        return False
    if query.health is not None and RANKS[agent["health"]] > RANKS[query.health]:
        return False
    if query.node not in {None, agent["node"]} or query.partition not in {None, agent["partition"]}:
        return False
    if any(agent["resources"].get(name, 0) < least for name, least in query.min_resources.items()):
        return False
    return all(meets(agent, criterion) for criterion in query.where)


def meets(agent: dict[str, Any], criterion: Criterion) -> bool:
    value = agent["metadata"].get("m") if criterion.path == "metadata.m" else agent[criterion.path]
    is_number = isinstance(value, (int, float))
    match criterion.operator:
        case "eq":
            return value == criterion.value
        case "neq":
            return value != criterion.value
        case "in":
            return value in criterion.value
        case "not_in":
            return value not in criterion.value
        case "gt":
            return is_number and value > criterion.value
        case "lte":
            return is_number and value <= criterion.value
    raise AssertionError(criterion)


class AgainstAScan(RuleBasedStateMachine):
    """The model is a plain table of what each agent last said; every question scans all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.table: dict[str, dict[str, Any]] = {}
        self.early: dict[str, tuple[int, list[dict[str, Any]]]] = {}

    @rule(
        name=NAMES,
        epoch=st.integers(1, 4),
        fields=st.fixed_dictionaries(
            {
                "capabilities": CAPABILITIES,
                "health": HEALTH,
                "node": PLACES,
                "partition": PLACES,
                "load": LOADS,
                "resources": AMOUNTS,
            }
        ),
    )
    def add(self, name: str, epoch: int, fields: dict[str, Any]) -> None:
        stale = name in self.table and self.table[name]["epoch"] > epoch
        assert self.registry.add(Registration(name, epoch, **fields)) == (not stale)
        if stale:
            return
        self.table[name] = {"name": name, "epoch": epoch, "metadata": {}, **fields}
        known_epoch, changes = self.early.get(name, (0, []))
        if known_epoch == epoch:
            for change in changes:
                self.apply(name, change)
        if known_epoch <= epoch:
            self.early.pop(name, None)

    def apply(self, name: str, changes: dict[str, Any]) -> None:
        agent = self.table[name]
        merged = {**agent["metadata"], **changes.get("metadata", {})}
        agent.update(changes)
        agent["metadata"] = {key: value for key, value in merged.items() if value is not None}

    @rule(name=NAMES, epoch=st.integers(1, 4))
    def remove(self, name: str, epoch: int) -> None:
        there = name in self.table and self.table[name]["epoch"] <= epoch
        assert self.registry.remove(name, epoch) == there
        if there:
            del self.table[name]
        if name in self.early and self.early[name][0] <= epoch:
            del self.early[name]

    @rule(
        name=NAMES,
        epoch=st.integers(1, 4),
        changes=st.fixed_dictionaries(
            {}, optional={"capabilities": CAPABILITIES, "health": HEALTH, "resources": AMOUNTS, "metadata": METADATA}
        ),
    )
    def update(self, name: str, epoch: int, changes: dict[str, Any]) -> None:
        at = self.table[name]["epoch"] if name in self.table else 0
        early_at, early = self.early.get(name, (0, []))
        taken = epoch >= at and (epoch == at or epoch >= early_at)
        assert self.registry.update(name, epoch, changes) == taken
        if epoch == at:
            self.apply(name, changes)
        elif taken:
            self.early[name] = (epoch, [*early, changes] if early_at == epoch else [changes])

    @rule(name=NAMES, load=LOADS)
    def set_load(self, name: str, load: float) -> None:
        assert self.registry.set_load(name, load) == (name in self.table)
        if name in self.table:
            self.table[name]["load"] = load

    @rule(query=QUERIES)
    def find(self, query: Query) -> None:
        fitting = [agent for agent in self.table.values() if has_all(agent, query)]
        fitting.sort(key=lambda agent: (agent["load"], agent["name"]))
        expected = [agent["name"] for agent in fitting][: query.limit]
        assert [registration.name for registration in self.registry.find(query)] == expected

    @invariant()
    def what_is_told_of_each_is_the_table(self) -> None:
        told = {registration.name: asdict(registration) for registration in self.registry}
        assert told == {name: {**agent, "host": ""} for name, agent in self.table.items()}
        counts = {c: sum(c in agent["capabilities"] for agent in self.table.values()) for c in "xyz"}
        assert self.registry.count_by_capability() == {c: n for c, n in counts.items() if n}
        by_health = self.registry.summary().by_health
        assert by_health == {h: sum(agent["health"] == h for agent in self.table.values()) for h in RANKS}


TestAgainstAScan = AgainstAScan.TestCase
TestAgainstAScan.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
