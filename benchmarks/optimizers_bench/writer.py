"""What the simulated model writes when it is asked for no answer of the task: instructions, advice, summaries.

It can only state rules that the prompt gives evidence of: cases whose right answer is shown, more so where a wrong one
stands beside it, most where feedback names the occasion; and rules that the prompt states already. Now and then it
states one vaguely, and a wrong one. What kind of text a field takes it sees by the field's schema and name.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from optimizers_bench.prompt_reading import Asked, Schema, shown_in, text_of
from optimizers_bench.rules import REFERENCE, Case, Rule, Task, sentences_of

_ADDS = re.compile(r"advice|advise|tip|lesson|feedback|rule|discussion|hint|learn|reflect|diagnos", re.IGNORECASE)
_SEEN_LABEL, _SEEN_CONTRAST, _SEEN_HINT = 0.15, 0.45, 0.75
_KEPT, _VAGUE, _WRONG, _MOST_NEW = 0.95, 0.1, 0.2, 4
_STYLES = ("Think step by step.", "Be concise.", "")


def advice(
    task: Task,
    cases: Mapping[str, Case],
    messages: Sequence[Mapping[str, Any]],
    asked: Asked,
    ability: float,
    seed: str,
) -> dict[str, Any]:
    """Return a value for each field that was asked for."""
    draws = random.Random(seed)
    text = "\n".join(text_of(message) for message in messages)
    stated = _stated(task, _without_cases(text, cases))
    found = [
        rule for rule, p in evidence(task, cases, text, ability).items() if rule not in stated and draws.random() < p
    ]
    draws.shuffle(found)
    new = [*found[:_MOST_NEW], *_wrong(task, stated, draws)]
    author = _Author(task, stated, new, draws, _names_in(text, task), asked.definitions)
    return {name: author.fill(name, schema) for name, schema in asked.fields.items()}


def evidence(task: Task, cases: Mapping[str, Case], text: str, ability: float) -> dict[Rule, float]:
    """Return the probability with which each rule is seen in what a text shows."""
    shown: dict[str, str] = {}
    for one in shown_in([text]):
        if one.reference in cases:
            shown[one.reference] = f"{shown.get(one.reference, '')}\n{one.text}"
    crowd = max(1.0, len(shown) / 8) ** 0.5  # of many cases each is looked at less
    misses = dict.fromkeys(task.rules, 1.0)
    for reference, said in shown.items():
        case = cases[reference]
        beside = said.replace(case.text, " ")
        for rule in task.rules:
            right, without = task.changed_by(rule, case.facts)
            visible = [name for name in right if _stands_in(right[name], beside)]
            if not visible:
                continue
            contrast = any(_stands_in(without[name], beside) for name in visible)
            seen = _SEEN_HINT if rule.hint in beside else _SEEN_CONTRAST if contrast else _SEEN_LABEL
            misses[rule] *= 1 - min(seen * ability / crowd, 0.95)
    return {rule: 1 - miss for rule, miss in misses.items()}


class _Author:
    """Fills the fields of one reply."""

    def __init__(
        self,
        task: Task,
        stated: Sequence[Rule],
        new: Sequence[Rule],
        draws: random.Random,
        names: Sequence[str],
        definitions: Mapping[str, Any],
    ) -> None:
        self._task, self._draws, self._names, self._definitions = task, draws, names, definitions
        self._kept = [rule for rule in stated if draws.random() < _KEPT]
        self._new = list(new)

    def fill(self, name: str, schema: Schema) -> Any:
        """Return a value of the schema."""
        schema = self._resolved(schema)
        if "enum" in schema or "const" in schema:
            return self._draws.choice(schema["enum"]) if "enum" in schema else schema["const"]
        for one in ("anyOf", "oneOf", "allOf"):
            if one in schema:
                return self.fill(name, schema[one][0])
        kind = schema.get("type", "string")
        if kind == "object":
            return self._object(name, schema)
        if kind == "array":
            return self._list(name, self._resolved(schema.get("items", {})))
        if kind in ("number", "integer"):
            return 1
        return True if kind == "boolean" else self._text(name)

    def _object(self, name: str, schema: Schema) -> dict[str, Any]:
        if "properties" in schema:
            return {key: self.fill(key, one) for key, one in schema["properties"].items()}
        return {key: self._text(name, key) for key in self._names}

    def _list(self, name: str, items: Schema) -> list[Any]:
        if items.get("type") == "object" or "properties" in items:
            return [self.fill(name, items)]
        rules = self._new if _ADDS.search(name) else [*self._kept, *self._new]
        return [self._worded(rule) for rule in rules]

    def _text(self, name: str, place: str | None = None) -> str:
        """Return advice, which is what is new, or a whole text, which keeps what was stated."""
        adds = bool(_ADDS.search(name))
        rules = self._new if adds else [*self._kept, *self._new]
        places = {call.place for call in self._task.calls}
        if place in places:
            rules = [rule for rule in rules if rule.place == place]
        opening = [] if adds else [self._task.purpose]
        style = [] if adds else [self._draws.choices(_STYLES, (2, 1, 5))[0]]
        said = " ".join(filter(None, [*opening, *map(self._worded, rules), *style]))
        return said or "Read the input closely and follow its facts."

    def _worded(self, rule: Rule) -> str:
        if rule.hint and self._draws.random() < _VAGUE:
            return f"Mind that {rule.hint}."
        return self._draws.choice(rule.wordings)

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
        return schema


def _stated(task: Task, text: str) -> list[Rule]:
    sentences = sentences_of(text)
    return [rule for rule in (*task.rules, *task.decoys) if rule.stated_in(sentences)]


def _without_cases(text: str, cases: Mapping[str, Case]) -> str:
    """Return a text with a break for each case: what a case says beside its answer is evidence, and states nothing."""
    for reference in dict.fromkeys(REFERENCE.findall(text)):
        if reference in cases:
            text = text.replace(cases[reference].text, "\n")
    return text


def _wrong(task: Task, stated: Sequence[Rule], draws: random.Random) -> list[Rule]:
    left = [rule for rule in task.decoys if rule not in stated]
    return [draws.choice(left)] if left and draws.random() < _WRONG else []


def _stands_in(value: Any, text: str) -> bool:
    """Say whether a value stands in a text as a word."""
    spelt = str(value)
    whole = {spelt, spelt.removesuffix(".0")} if isinstance(value, float) else {spelt}
    return any(re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w-]|\.\d)", text) for one in whole)


def _names_in(text: str, task: Task) -> list[str]:
    """Return what a mapping's keys are to be: the calls that a text names, else its last list of names."""
    places = [call.place for call in task.calls if call.place and re.search(rf"\b{call.place}\b", text)]
    if places:
        return places
    for found in reversed(list(re.finditer(r"\[\s*\"[^\[\]]*\"\s*\]", text))):
        try:
            names = json.loads(found.group())
        except ValueError:
            continue
        if all(isinstance(name, str) and re.fullmatch(r"[\w.]+", name) for name in names):
            return list(names)
    return []
