"""A workflow of tasks as a plan: order, results handed on, failures, and bad input."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import Failure, Outcome, SpecError, Work
from dspex_agents.roles.plan import ShowsResults
from dspex_agents.teamwork.task_workflow import Task, TaskWorkflow, WorkflowFailedError


def add(results: Mapping[str, Any]) -> int:
    return sum(results.values())


def run(workflow: TaskWorkflow, room: int = 2) -> list[str]:
    """Do every task as soon as it is handed out, its value being its payload; return the order."""
    workflow.open()
    order: list[str] = []
    while not workflow.finished():
        work = workflow.pull(room, 0.0)
        assert work
        order += [w.id for w in work]
        workflow.push([Outcome(w.id, w.payload, worker=f"agent of {w.id}") for w in work], 0.0)
    return order


def test_a_task_begins_after_those_it_depends_on_and_gets_their_results() -> None:
    workflow = TaskWorkflow(
        "sum", [Task("total", depends_on=("a", "b"), build=add), Task("a", 1), Task("b", 2), Task("other", 10)]
    )
    order = run(workflow)
    assert order.index("total") > max(order.index("a"), order.index("b"))
    result = workflow.result()
    assert result.results == {"a": 1, "b": 2, "other": 10, "total": 3}
    assert result.assigned["total"] == "agent of total"
    assert not result.cancelled


def test_what_a_task_needs_travels_with_its_unit() -> None:
    workflow = TaskWorkflow("w", [Task("a", 1, needs=frozenset({"sql"}), affinity="x", timeout_s=3.0)])
    workflow.open()
    assert workflow.pull(9, 0.0) == [Work("a", 1, affinity="x", needs=frozenset({"sql"}), timeout_s=3.0)]


def test_progress_and_results_tell_each_step() -> None:
    workflow = TaskWorkflow("w", [Task("a", 1), Task("b", 2, depends_on=("a",))])
    assert isinstance(workflow, ShowsResults)
    workflow.open()
    workflow.pull(9, 0.0)
    assert (workflow.progress()["step"], workflow.progress()["running"]) == (0, ["a"])
    workflow.push([Outcome("a", 5, worker="w1")], 0.0)
    assert workflow.results() == {"a": 5}
    progress = workflow.progress()
    assert (progress["step"], progress["steps"], progress["percent"]) == (1, 2, 50.0)
    assert progress["assigned"] == {"a": "w1"}


def test_a_failed_task_stops_the_workflow_which_names_it_and_its_agent() -> None:
    workflow = TaskWorkflow("w", [Task("a", 1), Task("b", 2), Task("c", 3, depends_on=("a",)), Task("d", 4)])
    workflow.open()
    workflow.pull(2, 0.0)
    workflow.push([Outcome("a", error=Failure("program", "ValueError", "no", retryable=False), worker="w1")], 0.0)
    assert not workflow.pull(9, 0.0)
    assert not workflow.finished()  # b is under way
    workflow.push([Outcome("b", 2, worker="w2")], 0.0)
    assert workflow.finished()
    with pytest.raises(WorkflowFailedError, match=r"'w' failed in task 'a': ValueError: no \(at w1\)") as caught:
        workflow.result()
    assert pickle.loads(pickle.dumps(caught.value)).task == "a"
    assert workflow.results() == {"b": 2}


def test_a_cancelled_workflow_gives_what_was_done() -> None:
    workflow = TaskWorkflow("w", [Task("a", 1), Task("b", 2, depends_on=("a",))])
    workflow.open()
    workflow.pull(9, 0.0)
    workflow.cancel("enough")
    workflow.push([Outcome("a", 1, worker="w1")], 0.0)
    assert workflow.finished()
    assert (workflow.result().results, workflow.result().cancelled) == ({"a": 1}, True)


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ([], "workflow 'w' has no tasks"),
        ([Task("a"), Task("a")], "tasks occur twice: a"),
        ([Task("a", depends_on=("x",))], "task 'a' depends on x, not among its tasks"),
        (
            [Task("a", depends_on=("c",)), Task("b", depends_on=("a",)), Task("c", depends_on=("b",))],
            "depend on each other in a circle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)",
        ),
        ([Task("a", depends_on=("a",))], "in a circle: a -> a"),
    ],
)
def test_tasks_that_cannot_be_a_workflow_are_refused_by_name(tasks: list[Task], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        TaskWorkflow("w", tasks)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"id": ""}, "needs an id"),
        ({"id": "a", "payload": 1, "build": add}, "task 'a': give it a payload or a build, not both"),
        ({"id": "a", "timeout_s": 0}, "task 'a': timeout_s must be a number of seconds above 0, got 0"),
    ],
)
def test_a_task_that_cannot_be_is_refused_by_name(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        Task(**fields)


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12), st.integers(1, 5))
def test_every_task_is_done_once_and_never_before_what_it_depends_on(graph: list[set[int]], room: int) -> None:
    depends = [tuple(str(d) for d in sorted(before) if d < number) for number, before in enumerate(graph)]
    workflow = TaskWorkflow("w", [Task(str(n), n, depends_on=d) for n, d in enumerate(depends)])
    order = run(workflow, room)
    assert sorted(order) == sorted(workflow.tasks)
    place = {id_: at for at, id_ in enumerate(order)}
    assert all(place[before] < place[str(n)] for n, d in enumerate(depends) for before in d)
