"""What a task of the simulated world is made of: cases, hidden rules, and the calls that answer."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Facts = Mapping[str, Any]
Answer = dict[str, Any]
Followed = frozenset[str]
REFERENCE = re.compile(r"\b[A-Z]{2}-\d{5}\b")
_SENTENCE = re.compile(r"\n|\\n|(?<=[.!?;])\s+")


@dataclass(frozen=True)
class Rule:
    """One thing that the model has to be told or shown.

    A text states it where one sentence matches each of `concepts` (regular expressions), in whatever words; `wordings`
    are what the model itself writes. `hint` is what feedback may say: the occasion and not what to do. `unaided` is the
    probability of following it without being told; a `thoughtful` rule is followed better after reasoning.
    """

    name: str
    place: str
    concepts: tuple[str, ...]
    wordings: tuple[str, ...]
    hint: str = ""
    unaided: float = 0.05
    thoughtful: bool = False

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(concept, re.IGNORECASE) for concept in self.concepts)

    def stated_in(self, sentences: list[str]) -> bool:
        """Say whether one of the sentences states the rule."""
        return any(all(pattern.search(one) for pattern in self._patterns) for one in sentences)


@dataclass(frozen=True)
class Call:
    """One model call of a task's program, by its place: what it is told at first, its inputs and outputs with types."""

    place: str
    instruction: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, type]


@dataclass(frozen=True)
class Case:
    """One example: its reference, which begins its text, and what the text says."""

    reference: str
    text: str
    facts: Facts


@dataclass(frozen=True)
class Task:
    """A task. `solve` answers a call for facts when some rules are followed, given what calls before it answered.

    `decoys` are rules that are wrong. `slip` is a plausible wrong answer. The last call's outputs are the program's.
    """

    name: str
    prefix: str
    purpose: str
    calls: tuple[Call, ...]
    rules: tuple[Rule, ...]
    decoys: tuple[Rule, ...]
    make: Callable[[random.Random], tuple[str, Facts]]
    solve: Callable[[str, Facts, Followed, Answer], Answer]
    slip: Callable[[str, Answer, random.Random], Answer]

    @cached_property
    def true_rules(self) -> Followed:
        return frozenset(rule.name for rule in self.rules)

    @property
    def question(self) -> str:
        return self.calls[0].inputs[0]

    def final(self, facts: Facts, followed: Followed) -> Answer:
        """Return the program's answer when these rules are followed in all calls."""
        answer: Answer = {}
        for call in self.calls:
            answer = self.solve(call.place, facts, followed, answer)
        return answer

    def gold(self, facts: Facts) -> Answer:
        """Return the right answer."""
        return self.final(facts, self.true_rules)

    def changed_by(self, rule: Rule, facts: Facts) -> tuple[Answer, Answer]:
        """Return the fields of the final answer that the rule changes: as is right, and as without it."""
        right, without = self.gold(facts), self.final(facts, self.true_rules - {rule.name})
        fields = [name for name in right if right[name] != without[name]]
        return {name: right[name] for name in fields}, {name: without[name] for name in fields}


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; a JSON string's line breaks part them too."""
    return [one for one in _SENTENCE.split(text) if one]


def cases_of(task: Task, seed: int, count: int) -> list[Case]:
    """Return so many different cases; the same for the same seed."""
    draws, cases = random.Random(f"{task.name}/{seed}"), list[Case]()
    numbers = draws.sample(range(10_000, 100_000), count)
    for number in numbers:
        reference = f"{task.prefix}-{number}"
        text, facts = task.make(draws)
        cases.append(Case(reference, f"{reference}: {text}", facts))
    return cases


def same(given: Any, right: Any) -> bool:
    """Say whether a field is right: texts without their case and outer spaces, numbers to a cent."""
    if isinstance(right, float | int):
        try:
            return abs(float(given) - right) < 0.005
        except (TypeError, ValueError):
            return False
    return str(given).strip().casefold() == str(right).casefold()


def marked(task: Task, case: Case, given: Mapping[str, Any]) -> tuple[float, str]:
    """Return the share of the right fields, and feedback: what is wrong, and in half of the cases the occasion."""
    right = task.gold(case.facts)
    wrong = [name for name in right if not same(given.get(name), right[name])]
    if not wrong:
        return 1.0, "Right."
    told = [f"{name} should be {right[name]}, not {given.get(name)}." for name in wrong]
    hint = _hint(task, case, given, wrong)
    if hint and random.Random(f"hint/{case.reference}").random() < 0.5:
        told.append(f"Note: {hint}.")
    return 1 - len(wrong) / len(right), " ".join(told)


def _hint(task: Task, case: Case, given: Mapping[str, Any], wrong: list[str]) -> str:
    """Return the hint of the rule whose neglect explains the answer, else of the first that matters here."""
    first = ""
    for rule in task.rules:
        _, without = task.changed_by(rule, case.facts)
        if not set(without) & set(wrong):
            continue
        if all(same(given.get(name), without[name]) for name in without):
            return rule.hint
        first = first or rule.hint
    return first
