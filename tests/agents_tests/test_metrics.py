"""Metrics: sums that only grow, labels that are bounded, scrapes that never fail, a document that is the table."""

from __future__ import annotations

import logging
import threading
import time
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sample_agents import Echo

from dspex_agents import ChildSpec, ManualClock, SupervisorSpec, SystemSpec, SystemStoppedError, start_local_system
from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.errors import AgentFailedError
from dspex_agents.metrics.collector import SystemCollector
from dspex_agents.metrics.exposition import exposition, served
from dspex_agents.metrics.figures import SystemFigures, host_group
from dspex_agents.metrics.table import LABELS, METRICS, OTHER, metrics_markdown

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def status(name: str, epoch: int = 1, **figures: Any) -> AgentStatus:
    given_ = {"status": "idle", "mailbox": 0, "in_flight": 0, "handled": 0, "failed": 0, "kind": "Echo"} | figures
    return AgentStatus(name=name, epoch=epoch, started_at=0.0, idle_s=0.0, **given_)


def agent(name: str, epoch: int = 1, *, restarts: int = 0, host: str = "shared@1", **figures: Any) -> TreeNode:
    told = status(name, epoch, **figures)
    place = {"host": host, "pid": 100 + int(host.rsplit("@", 1)[1]), "memory_bytes": 50_000_000, "node": "n1"}
    return TreeNode(name, "agent", told.status, restarts, agent=told, **place)


def silent(name: str, *, restarts: int = 0, status: str = "starting") -> TreeNode:
    return TreeNode(name, "agent", status, restarts)


def top(*children: TreeNode, id_: str = "top", state: str = "running", restarts: int = 0) -> TreeNode:
    return TreeNode(id_, "supervisor", state, restarts, children=children, strategy="one_for_one")


@dataclass
class Scripted:
    """A system whose trees are given."""

    trees: list[TreeNode | Exception]
    name: str = "shop"
    asked: list[float] = field(default_factory=list)

    def tree(self, timeout_s: float) -> TreeNode:
        self.asked.append(timeout_s)
        shown = self.trees.pop(0) if len(self.trees) > 1 else self.trees[0]
        if isinstance(shown, Exception):
            raise shown
        return shown


def scrape(collector: SystemCollector) -> dict[str, dict[frozenset[str], float]]:
    """Return metric name to label values to the value, read back from the text."""
    read: dict[str, dict[frozenset[str], float]] = {}
    for family in text_string_to_metric_families(exposition(collector)):
        for sample in family.samples:
            read.setdefault(sample.name, {})[frozenset(sample.labels.values())] = sample.value
    return read


def handled(collector: SystemCollector) -> float:
    values = scrape(collector)["dspex_messages_total"]
    return sum(value for labels, value in values.items() if "handled" in labels)


# counters -------------------------------------------------------------------------------------------------------
def test_a_restarted_agents_new_count_is_added_to_the_old_one() -> None:
    collector = SystemCollector(
        Scripted([top(agent("a", 1, handled=n)) for n in (5, 8)] + [top(agent("a", 2, handled=3))])
    )
    assert [handled(collector) for _ in range(4)] == [5, 8, 11, 11]


def test_a_silent_agent_keeps_its_count_and_its_class() -> None:
    trees = [top(agent("a", 1, handled=5)), top(silent("a", status="running")), top(agent("a", 1, handled=6))]
    collector = SystemCollector(Scripted(trees))
    assert handled(collector) == 5
    during = scrape(collector)
    assert during["dspex_agents"] == {frozenset({"shop", "top", "Echo", "running"}): 1}
    assert handled(collector) == 6


def test_a_late_word_of_an_earlier_incarnation_adds_nothing() -> None:
    trees = [top(agent("a", epoch, handled=n)) for epoch, n in ((1, 5), (2, 1), (1, 7), (2, 2))]
    collector = SystemCollector(Scripted(trees))
    assert [handled(collector) for _ in range(4)] == [5, 6, 6, 7]


def test_the_count_of_an_agent_that_is_gone_stays_and_its_memory_does_not() -> None:
    figures = SystemFigures("shop")
    for n in range(200):
        seen = figures.observe(top(agent(f"job-{n}", n + 1, handled=2)))
    assert seen["dspex_messages_total"]["shop", "top", "Echo", "handled"] == 400
    assert len(figures._growth._seen) < 50


def test_an_agent_missing_from_the_tree_for_a_moment_is_not_counted_twice() -> None:
    trees = [top(agent("a", 1, handled=5)), top(), top(), top(agent("a", 1, handled=6))]
    assert [handled(collector) for collector in [SystemCollector(Scripted(trees))] * 4] == [5, 5, 5, 6]


def test_restarts_go_on_growing_when_the_supervisor_itself_begins_anew() -> None:
    trees = [top(agent("a", restarts=n)) for n in (3, 4, 0, 2)]
    collector = SystemCollector(Scripted(trees))
    totals = [sum(scrape(collector)["dspex_agent_restarts_total"].values()) for _ in range(4)]
    assert totals == [3, 4, 4, 6]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.integers(0, 50), st.integers(0, 5))),
        max_size=30,
    )
)
def test_no_counter_ever_falls_whatever_the_trees_say(looks: list[list[tuple[str, int, int, int]]]) -> None:
    figures, before = SystemFigures("shop"), {}
    counters = [metric.name for metric in METRICS if metric.kind == "counter"]
    for look in looks:
        nodes = {name: agent(name, epoch, handled=n, busy_s=n / 7, restarts=r) for name, epoch, n, r in look}
        values = figures.observe(top(*nodes.values()))
        now = {(name, labels): value for name in counters for labels, value in values.get(name, {}).items()}
        assert all(now.get(key, -1) >= value for key, value in before.items())
        before = now


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_the_sum_is_all_that_the_agent_did_up_to_the_last_look_at_each_incarnation(
    steps: list[tuple[bool, int]],
) -> None:
    figures, epoch, own, done = SystemFigures("shop"), 1, 0, 0
    for restarted, more in steps:
        if restarted:
            epoch, own = epoch + 1, 0
        own, done = own + more, done + more
        values = figures.observe(top(agent("a", epoch, failed=own)))
        assert values["dspex_messages_total"]["shop", "top", "Echo", "failed"] == done


# labels ---------------------------------------------------------------------------------------------------------
def test_values_beyond_the_most_a_label_may_have_are_counted_as_other() -> None:
    most = next(label.most for label in LABELS if label.name == "supervisor")
    groups = [top(agent(f"a{n}", handled=1), id_=f"s{n}") for n in range(most + 50)]
    values = scrape(SystemCollector(Scripted([top(*groups)])))["dspex_agents"]
    assert len(values) == most  # the top supervisor holds one of the places
    assert values[frozenset({"shop", OTHER, "Echo", "idle"})] == 51


def test_a_value_keeps_its_place_when_others_crowd_in() -> None:
    figures = SystemFigures("shop")
    figures.observe(top(agent("a", kind="First", handled=1)))
    crowd = [agent(f"x{n}", kind=f"K{n}") for n in range(500)]
    values = figures.observe(top(*crowd, agent("a", kind="First", handled=4)))
    assert values["dspex_messages_total"]["shop", "top", "First", "handled"] == 4


def test_no_label_holds_an_agents_name_or_a_reason() -> None:
    told = agent("secret-id", host="own:secret-id@7", handled=1, paused="secret-reason", details={"x": "secret-text"})
    assert "secret" not in exposition(SystemCollector(Scripted([top(told)])))
    assert host_group("own:secret-id@7") == "own"
    assert host_group("shared@12") == "shared"


def test_every_label_in_use_stands_in_the_table_of_labels() -> None:
    assert {name for metric in METRICS for name in metric.labels} == {label.name for label in LABELS}
    assert {label.name for label in LABELS if label.most is None} == {"system"}


# gauges ---------------------------------------------------------------------------------------------------------
def test_agents_of_one_supervisor_and_class_are_summed_and_the_oldest_message_is_the_oldest() -> None:
    tree = top(
        agent("a", mailbox=3, mailbox_size=10, in_flight=1, oldest_s=2.0),
        agent("b", mailbox=4, mailbox_size=10, in_flight=2, oldest_s=9.5),
        agent("c", status="paused"),
    )
    values = scrape(SystemCollector(Scripted([tree])))
    group = frozenset({"shop", "top", "Echo"})
    assert values["dspex_agents"] == {group | {"idle"}: 2, group | {"paused"}: 1}
    assert values["dspex_mailbox_messages"][group] == 7
    assert values["dspex_mailbox_capacity"][group] == 20
    assert values["dspex_messages_in_flight"][group] == 3
    assert values["dspex_oldest_message_age_seconds"][group] == 9.5


def test_memory_is_counted_once_for_each_process_however_many_agents_share_it() -> None:
    tree = top(agent("a"), agent("b"), agent("c", host="shared@2"), agent("d", host="own:d@3"))
    values = scrape(SystemCollector(Scripted([tree])))
    shared, own = frozenset({"shop", "shared"}), frozenset({"shop", "own"})
    assert values["dspex_host_memory_bytes"] == {shared: 100_000_000, own: 50_000_000}
    assert values["dspex_host_processes"] == {shared: 2, own: 1}
    assert values["dspex_host_agents"] == {shared: 3, own: 1}


def test_a_supervisor_is_in_exactly_one_of_its_states() -> None:
    tree = top(top(id_="inner", state="stopping", restarts=2))
    values = scrape(SystemCollector(Scripted([tree])))
    inner = {labels: n for labels, n in values["dspex_supervisor_state"].items() if "inner" in labels and n}
    assert inner == {frozenset({"shop", "inner", "stopping"}): 1}
    assert values["dspex_supervisor_restarts_total"][frozenset({"shop", "inner"})] == 2


def test_a_scrape_of_ten_thousand_agents_takes_less_than_a_second() -> None:
    collector = SystemCollector(Scripted([top(*(agent(f"a{n}", handled=n) for n in range(10_000)))]))
    took_s = []
    for _ in range(3):  # the best of three: the machine may be busy with other tests
        started = time.perf_counter()
        exposition(collector)
        took_s.append(time.perf_counter() - started)
    assert min(took_s) < 1.0


# a system that does not answer ------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [SystemStoppedError("gone"), TimeoutError("slow"), OSError("no route")])
def test_a_failing_scrape_shows_down_and_nothing_else_and_the_next_one_goes_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    collector = SystemCollector(Scripted([top(agent("a", handled=5)), error, top(agent("a", handled=7))]))
    assert handled(collector) == 5
    down = scrape(collector)
    assert down.pop("dspex_up") == {frozenset({"shop"}): 0}
    assert set(down) == {"dspex_scrape_duration_seconds"}
    assert str(error) in caplog.text
    assert handled(collector) == 7


def test_dead_letters_are_those_that_the_top_of_the_tree_tells_of() -> None:
    tree = replace(top(agent("a"), top(id_="nested")), dead_letters=3)
    assert scrape(SystemCollector(Scripted([tree])))["dspex_dead_letters"] == {frozenset({"shop"}): 3}


def test_registering_a_collector_asks_no_system() -> None:
    system = Scripted([top()])
    CollectorRegistry().register(SystemCollector(system))
    assert not system.asked


def test_the_duration_is_what_the_system_took() -> None:
    clock = ManualClock()

    class Slow(Scripted):
        def tree(self, timeout_s: float) -> TreeNode:
            clock.advance(3.0)
            return super().tree(timeout_s)

    system = Slow([top()])
    values = scrape(SystemCollector(system, timeout_s=5.0, clock=clock))
    assert values["dspex_scrape_duration_seconds"] == {frozenset({"shop"}): 3.0}
    assert system.asked == [5.0]


def test_looks_of_several_threads_never_overlap_so_that_none_is_counted_out_of_order() -> None:
    inside, most = [], []

    class Counted(Scripted):
        def tree(self, timeout_s: float) -> TreeNode:
            inside.append(1)
            time.sleep(0.002)  # room for another thread to come in
            most.append(len(inside))
            inside.pop()
            return super().tree(timeout_s)

    collector = SystemCollector(Counted([top(agent("a", restarts=n)) for n in range(1, 41)]))
    threads = [threading.Thread(target=lambda: [exposition(collector) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert max(most) == 1
    assert sum(scrape(collector)["dspex_agent_restarts_total"].values()) == 40


# the text and the document ----------------------------------------------------------------------------------------
def test_the_text_has_every_metric_of_the_table_with_its_kind_and_no_other() -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(exposition(SystemCollector(Scripted([top(agent("a"))]))))
    }
    assert {name: family.type for name, family in families.items()} == {
        metric.name.removesuffix("_total"): metric.kind for metric in METRICS
    }
    assert all(family.samples for family in families.values())
    for metric in METRICS:
        sample = families[metric.name.removesuffix("_total")].samples[0]
        assert (sample.name, set(sample.labels)) == (metric.name, set(metric.labels))


def test_several_systems_share_one_family() -> None:
    text = exposition(SystemCollector(Scripted([top()]), Scripted([top()], name="bank")))
    assert text.count("# TYPE dspex_up gauge") == 1
    assert 'dspex_up{system="shop"} 1.0' in text
    assert 'dspex_up{system="bank"} 1.0' in text


def test_the_document_shows_the_table_as_it_is() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document.endswith("<!-- tables -->\n" + metrics_markdown()), "run: python -m dspex_agents.metrics.table"


def test_units_are_in_the_names_and_counters_are_totals() -> None:
    for metric in METRICS:
        stem = metric.name.removesuffix("_total")
        assert (metric.name != stem) == (metric.kind == "counter")
        assert not metric.unit or stem.endswith("_" + metric.unit)


# a real system ----------------------------------------------------------------------------------------------------
def test_a_running_systems_messages_and_restarts_are_counted_over_http() -> None:
    spec = SupervisorSpec(id="top", children=tuple(ChildSpec(id=f"e{n}", start=Echo) for n in (1, 2)))
    with (
        start_local_system(SystemSpec(name="counted", supervisor=spec)) as system,
        served(SystemCollector(system), 0) as url,
    ):
        for n in range(4):
            system.ask("e1", n)
        with pytest.raises(AgentFailedError):
            system.ask("e2", "boom")
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        assert 'dspex_messages_total{kind="Echo",outcome="handled",supervisor="top",system="counted"} 4.0' in text
        assert 'dspex_messages_total{kind="Echo",outcome="failed",supervisor="top",system="counted"} 1.0' in text
        assert 'dspex_agents{kind="Echo",status="idle",supervisor="top",system="counted"} 2.0' in text


def test_a_stopped_systems_scrape_says_down(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    system = start_local_system(
        SystemSpec(name="brief", supervisor=SupervisorSpec(id="top", children=(ChildSpec(id="e", start=Echo),)))
    )
    collector = SystemCollector(system)
    assert 'dspex_up{system="brief"} 1.0' in exposition(collector)
    system.stop()
    assert 'dspex_up{system="brief"} 0.0' in exposition(collector)


def test_a_port_in_use_is_an_error_of_the_system_call() -> None:
    collector = SystemCollector(Scripted([top()]))
    with served(collector, 0) as url:
        again = served(collector, int(url.rsplit(":", 1)[1].removesuffix("/metrics")))
        with pytest.raises(OSError, match="in use"):
            again.__enter__()
