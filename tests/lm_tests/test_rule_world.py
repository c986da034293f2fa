"""The simulated model of benchmarks/optimizers_bench: what it follows, whatever the layout of a prompt."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from optimizers_bench.model import (
    SIZES,
    SimulatedModel,
    slip_probability,
)
from optimizers_bench.prompt_reading import value_of
from optimizers_bench.rules import Case, Task, marked
from optimizers_bench.tasks import TASKS, splits_of

ROUTING = TASKS["routing"]
TOLD = "\n".join(rule.wordings[0] for rule in ROUTING.rules)
PARAPHRASED = "\n".join(rule.wordings[-1] for rule in ROUTING.rules)


def model_of(task: Task, seed: int = 0) -> SimulatedModel:
    splits = splits_of(task, seed)
    return SimulatedModel(task, [*splits.train, *splits.validation, *splits.test], seed)


def in_json(case: Case, told: str, demos: list[Case]) -> list[dict[str, Any]]:
    schema = {"properties": {"desk": {"type": "string"}}, "type": "object"}
    system = {"role": "system", "content": f"{told}\n\nAnswer with an object of this schema:\n{json.dumps(schema)}"}
    shown = [
        message
        for demo in demos
        for message in (
            {"role": "user", "content": demo.text},
            {"role": "assistant", "content": json.dumps(ROUTING.gold(demo.facts))},
        )
    ]
    return [system, *shown, {"role": "user", "content": case.text}]


def in_one_message(case: Case, told: str, demos: list[Case]) -> list[dict[str, Any]]:
    shown = "".join(f"Ticket: {demo.text}\ndesk: {ROUTING.gold(demo.facts)['desk']}\n---\n" for demo in demos)
    asked = "Respond with a JSON object in the following order of fields: `desk`."
    return [{"role": "user", "content": f"{told}\n---\n{shown}Ticket: {case.text}\n{asked}"}]


def in_markers(case: Case, told: str, demos: list[Case]) -> list[dict[str, Any]]:
    fields = "[[ ## ticket ## ]]\n{ticket}\n\n[[ ## desk ## ]]\n{desk}\n\n[[ ## completed ## ]]"
    end = "Respond with the fields, starting with `[[ ## desk ## ]]`, and then `[[ ## completed ## ]]`."
    shown = [
        message
        for demo in demos
        for message in (
            {"role": "user", "content": f"[[ ## ticket ## ]]\n{demo.text}"},
            {"role": "assistant", "content": f"[[ ## desk ## ]]\n{ROUTING.gold(demo.facts)['desk']}"},
        )
    ]
    asked = {"role": "user", "content": f"[[ ## ticket ## ]]\n{case.text}\n\n{end}"}
    return [{"role": "system", "content": f"{fields}\n{told}"}, *shown, asked]


LAYOUTS = [in_json, in_one_message, in_markers]


@lru_cache
def accuracy(layout: Any, told: str = "", demos: int = 0, **body: Any) -> float:
    model, splits = model_of(ROUTING), splits_of(ROUTING, 0)
    scores = []
    for case in splits.test:
        asked = {"temperature": 0.4, "messages": layout(case, told, list(splits.train[:demos])), **body}
        said = model.say(asked).text
        scores.append(marked(ROUTING, case, {"desk": value_of("desk", said)})[0])
    return sum(scores) / len(scores)


@pytest.mark.parametrize(("told", "demos"), [("", 0), (TOLD, 0), ("", 6)])
def test_the_layout_does_not_change_the_accuracy(told: str, demos: int) -> None:
    found = [accuracy(layout, told, demos) for layout in LAYOUTS]
    assert max(found) - min(found) < 0.1, found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rules_that_are_told_and_demonstrations_are_followed(layout: Any) -> None:
    assert accuracy(layout) + 0.3 < accuracy(layout, TOLD)
    assert accuracy(layout) + 0.05 < accuracy(layout, demos=6) < accuracy(layout, TOLD)


def test_other_words_for_a_rule_count_as_much() -> None:
    assert abs(accuracy(in_json, TOLD) - accuracy(in_json, PARAPHRASED)) < 0.08


def test_a_wrong_rule_and_a_long_prompt_cost_accuracy() -> None:
    wrong = "\n".join(rule.wordings[0] for rule in ROUTING.decoys)
    assert accuracy(in_json, f"{TOLD}\n{wrong}") < accuracy(in_json, TOLD) - 0.02
    assert accuracy(in_json, f"{TOLD}\n{'The sky is wide. ' * 2000}") < accuracy(in_json, TOLD) - 0.1


def test_a_larger_model_is_better() -> None:
    assert accuracy(in_json, TOLD, model="small") < accuracy(in_json, TOLD, model="large")


def test_the_best_temperature_depends_on_the_style_of_the_instruction() -> None:
    def best(style: str) -> float:
        return min(
            (0.0, 0.4, 0.7, 1.0), key=lambda t: slip_probability(SIZES["small"], t, style, thinks=False, demos=0)
        )

    assert (best("terse"), best("plain"), best("careful")) == (0.0, 0.4, 0.7)


def test_the_same_request_and_draw_give_the_same_answer_and_another_draw_does_not() -> None:
    model, cases = model_of(ROUTING), splits_of(ROUTING, 0).test

    def answers(draw: int, temperature: float) -> list[str]:
        return [model.say({"temperature": temperature, "messages": in_json(case, "", [])}, draw).text for case in cases]

    assert answers(0, 1.0) == answers(0, 1.0)
    assert answers(0, 1.0) != answers(1, 1.0)
    assert answers(0, 0.0) == answers(1, 0.0)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_rule_is_stated_in_each_of_its_wordings_and_in_no_question(task: Task) -> None:
    for rule in (*task.rules, *task.decoys):
        assert all(rule.stated_in([wording]) for wording in rule.wordings), rule.name
        others = [one for one in (*task.rules, *task.decoys) if one is not rule]
        assert not any(one.stated_in([wording]) for one in others for wording in rule.wordings), rule.name
    splits = splits_of(task, 0)
    assert all(marked(task, case, task.gold(case.facts))[0] == 1.0 for case in splits.test)
    assert not {case.text for case in splits.train} & {case.text for case in (*splits.test, *splits.validation)}
    for rule in task.rules:
        assert any(task.changed_by(rule, case.facts)[0] for case in splits.train), rule.name


def reflection(cases: list[Case], *, labels: bool) -> list[dict[str, Any]]:
    told = "Here are examples and what was wrong. Write a new instruction in ``` blocks.\n"
    for case in cases:
        without = {"desk": ROUTING.solve("", case.facts, frozenset(), {})["desk"]}
        told += f"Input: {case.text}\nResponse: {without['desk']}\n"
        told += f"Feedback: {marked(ROUTING, case, without)[1]}\n" if labels else ""
    return [{"role": "user", "content": told}]


def test_a_case_beside_its_answer_is_no_statement_of_a_rule() -> None:
    model, train = model_of(ROUTING), splits_of(ROUTING, 0).train
    rule = ROUTING.rules[0]
    case = next(case for case in train if ROUTING.changed_by(rule, case.facts)[0])
    row = json.dumps({"ticket": case.text, "desk": ROUTING.gold(case.facts)["desk"]})
    asked = {"messages": [{"role": "user", "content": f"Describe this data: {row}"}], "temperature": 1.0}
    said = [model.say(asked, draw).text for draw in range(40)]
    assert 1 <= sum(rule.stated_in([text]) for text in said) <= 15  # 0.15 of 40 would be 6


def test_advice_for_several_calls_is_under_their_names() -> None:
    task = TASKS["two_hop"]
    cases = splits_of(task, 0).train[:6]
    schema = {"properties": {"advice": {"type": "object", "additionalProperties": {"type": "string"}}}}
    shown = "\n".join(f"{case.text}\naction: {task.gold(case.facts)['action']}" for case in cases)
    text = f"Calls: diagnose, decide\n{shown}\n{json.dumps(schema)}"
    said = json.loads(model_of(task).say({"messages": [{"role": "user", "content": text}]}).text)
    assert set(said["advice"]) == {"diagnose", "decide"}


def test_reflection_states_rules_that_are_shown_and_no_others() -> None:
    model, train = model_of(ROUTING), splits_of(ROUTING, 0).train
    for rule in ROUTING.rules:
        shown = [case for case in train if ROUTING.changed_by(rule, case.facts)[0]][:4]
        others = [case for case in train if rule.name not in case.facts["marks"]][:8]

        def share(cases: list[Case], *, labels: bool, rule: Any = rule) -> float:
            asked = {"messages": reflection(cases, labels=labels), "temperature": 1.0}
            return sum(rule.stated_in(model.say(asked, draw).text.split(". ")) for draw in range(20)) / 20

        assert share(shown, labels=True) > 0.25, rule.name
        assert share(shown, labels=False) == 0.0
        assert share(others, labels=True) == 0.0
