"""The simulated model: what it answers to a call of a task, and with which probability it gets it right.

The description, with all figures, is docs/simulated-world.md. Whether a rule is followed compares its probability with
a number that depends on the case and the rule (half of its variance, so that hard cases stay hard and comparisons can
be paired), on the prompt, and, the more the higher the temperature, on the draw.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from optimizers_bench.prompt_reading import Asked, Shown, asked_of, shown_in, text_of, value_of
from optimizers_bench.reply_writing import broken, written
from optimizers_bench.rules import REFERENCE, Answer, Call, Case, Rule, Task, same, sentences_of
from optimizers_bench.writer import advice

_NORMAL = NormalDist()
_PERSISTENT = 0.5
_CAREFUL = re.compile(r"step by step|carefully|reason|think", re.IGNORECASE)
_TERSE = re.compile(r"concise|brief|\bshort\b|nothing else but", re.IGNORECASE)


@dataclass(frozen=True)
class Size:
    """A model: how well it follows rules, how often it slips and breaks the form, and what a million tokens cost."""

    ability: float
    slip: float
    breaks: float
    usd_in: float
    usd_out: float


SIZES = {
    "small": Size(ability=0.86, slip=0.05, breaks=0.03, usd_in=0.1, usd_out=0.4),
    "medium": Size(ability=0.92, slip=0.03, breaks=0.012, usd_in=0.5, usd_out=2.0),
    "large": Size(ability=0.97, slip=0.015, breaks=0.005, usd_in=2.5, usd_out=10.0),
}


@dataclass(frozen=True)
class Said:
    """A reply: its text, and whether it answered a `task` call or wrote a `text`."""

    text: str
    kind: str


@dataclass(frozen=True)
class _Prompt:
    """What the model makes of a prompt of a task's call."""

    call: Call
    case: Case
    told: frozenset[str]
    demos: tuple[tuple[Case, Answer], ...]
    style: str
    thinks: bool
    tokens: int
    before: Answer


class SimulatedModel:
    """Answers chat requests about one task; the same for the same request, seed and draw."""

    def __init__(self, task: Task, cases: Sequence[Case], seed: int) -> None:
        self._task, self._seed = task, seed
        self._kept: dict[str, frozenset[str]] = {}
        self._cases = {case.reference: case for case in cases}

    def say(self, body: Mapping[str, Any], draw: int = 0) -> Said:
        """Return the reply to a request; `draw` tells repeats apart where the temperature is above 0."""
        asked = asked_of(body)
        temperature = float(1.0 if body.get("temperature") is None else body["temperature"])
        digest = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        call = self._call_of(asked)
        prompt = None if call is None else self._read(call, body["messages"], asked)
        if prompt is None:
            ability = _size(body).ability
            seed = f"{self._seed}/{digest}/{draw if temperature else 0}"
            return Said(written(asked, advice(self._task, self._cases, body["messages"], asked, ability, seed)), "text")
        chance = _Chance(f"{self._seed}/{prompt.case.reference}/{prompt.call.place}", digest, draw, temperature)
        return Said(self._answer(asked, prompt, _size(body), temperature, chance), "task")

    def _call_of(self, asked: Asked) -> Call | None:
        return next((call for call in self._task.calls if set(call.outputs) <= set(asked.fields)), None)

    def _read(self, call: Call, messages: Sequence[Mapping[str, Any]], asked: Asked) -> _Prompt | None:
        talk = [text_of(message) for message in messages if message["role"] != "system"]
        shown = shown_in(talk)
        if not shown or shown[-1].reference not in self._cases:
            return None
        case = self._cases[shown[-1].reference]
        system = "\n".join(text_of(message) for message in messages if message["role"] == "system")
        said = f"{system}\n{_before_first(talk)}\n{_behind(case, shown[-1].text)}"
        before = {name: value for name in call.inputs[1:] if (value := value_of(name, shown[-1].text))}
        style = "careful" if _CAREFUL.search(said) else "terse" if _TERSE.search(said) else "plain"
        return _Prompt(
            call=call,
            case=case,
            told=self._stated(said),
            demos=tuple(self._demos(call, shown[:-1])),
            style=style,
            thinks=next(iter(asked.fields)) not in call.outputs,
            tokens=sum(len(text_of(message)) for message in messages) // 4,
            before=before,
        )

    def _stated(self, said: str) -> frozenset[str]:
        """Return the names of the rules that a text states; prompts share their beginnings, so it is kept."""
        if said not in self._kept:
            if len(self._kept) >= 1024:
                self._kept.clear()
            sentences, rules = sentences_of(said), (*self._task.rules, *self._task.decoys)
            self._kept[said] = frozenset(rule.name for rule in rules if rule.stated_in(sentences))
        return self._kept[said]

    def _demos(self, call: Call, shown: Sequence[Shown]) -> list[tuple[Case, Answer]]:
        found = []
        for one in shown:
            answer = {name: value_of(name, _behind(self._cases.get(one.reference), one.text)) for name in call.outputs}
            if one.reference in self._cases and None not in answer.values():
                found.append((self._cases[one.reference], answer))
        return found

    def _answer(self, asked: Asked, prompt: _Prompt, size: Size, temperature: float, chance: _Chance) -> str:
        followed = frozenset(
            rule.name
            for rule in (*self._task.rules, *self._task.decoys)
            if rule.place == prompt.call.place and chance.below(rule.name, self._follows(rule, prompt, size))
        )
        answer = self._task.solve(prompt.call.place, prompt.case.facts, followed, prompt.before)
        if chance.below("slip", slip_probability(size, temperature, prompt.style, prompt.thinks, len(prompt.demos))):
            answer = self._task.slip(prompt.call.place, answer, random.Random(chance.key("which")))
        values: dict[str, Any] = {}
        for name in asked.fields:
            values[name] = answer.get(name, f"The input is {prompt.case.reference}; its facts lead to the answer.")
        if chance.below("form", break_probability(size, temperature, len(prompt.demos))):
            return broken(values)
        return written(asked, values)

    def _follows(self, rule: Rule, prompt: _Prompt, size: Size) -> float:
        decoy = rule in self._task.decoys
        misses = 1.0 if decoy else 1 - rule.unaided
        if rule.name in prompt.told:
            misses *= 1 - size.ability
        if prompt.demos and not decoy:
            for_it, against = self._evidence(rule, prompt)
            misses *= (1 - 0.4 * size.ability) ** min(for_it, 4.0)
            misses = 1 - (1 - misses) * 0.75**against
        held = (1 - misses) * _dilution(prompt.tokens)
        if rule.thoughtful and not prompt.thinks:
            held *= 0.93
        return held

    def _evidence(self, rule: Rule, prompt: _Prompt) -> tuple[float, int]:
        """Return the weight of the demonstrations that show the rule, and how many break it."""
        task, place = self._task, prompt.call.place
        for_it, against = 0.0, 0
        for case, answer in prompt.demos:
            before = _before(task, place, case)
            right = task.solve(place, case.facts, task.true_rules, before)
            without = task.solve(place, case.facts, task.true_rules - {rule.name}, before)
            fields = [name for name in right if right[name] != without[name]]
            if not fields:
                continue
            if all(same(answer[name], right[name]) for name in fields):
                for_it += 1.0 if _alike(case, prompt.case) else 0.7
            elif all(same(answer[name], without[name]) for name in fields):
                against += 1
        return for_it, against


class _Chance:
    """Uniform numbers by name, in part the same for a case whatever the prompt and the draw."""

    def __init__(self, case: str, prompt: str, draw: int, temperature: float) -> None:
        self._case, self._prompt, self._draw = case, prompt, draw
        self._moves = min(temperature, 1.0)

    def key(self, name: str) -> str:
        return f"{self._case}/{name}/{self._prompt}/{self._draw if self._moves else 0}"

    def below(self, name: str, probability: float) -> bool:
        """Say whether something of this probability happens."""
        if probability <= 0:
            return False
        still = _normal(f"{self._case}/{name}")
        prompt, drawn = _normal(f"{self._case}/{name}/{self._prompt}"), _normal(self.key(name))
        moved = math.sqrt(1 - self._moves) * prompt + math.sqrt(self._moves) * drawn
        number = math.sqrt(_PERSISTENT) * still + math.sqrt(1 - _PERSISTENT) * moved
        return _NORMAL.cdf(number) < probability


def slip_probability(size: Size, temperature: float, style: str, thinks: bool, demos: int) -> float:  # noqa: FBT001 - one of four conditions
    """Return how often a plausible wrong answer is given in spite of all rules."""
    best = {"careful": 0.7, "plain": 0.4, "terse": 0.0}[style]
    slip = size.slip * (0.6 if style == "careful" else 1.0) * (0.7 if demos else 1.0)
    return (slip + 0.2 * (temperature - best) ** 2) * (0.6 if thinks else 1.0)


def break_probability(size: Size, temperature: float, demos: int) -> float:
    """Return how often an answer is not in the form that was asked for."""
    return (size.breaks + 0.04 * max(0.0, temperature - 0.7)) * (0.4 if demos else 1.0)


def _dilution(tokens: int) -> float:
    """Return what a long prompt leaves of the attention for one rule."""
    return max(0.6, 1 - 0.06 * max(0, tokens - 800) / 1000)


def _size(body: Mapping[str, Any]) -> Size:
    return SIZES.get(str(body.get("model", "")).rpartition("/")[2], SIZES["small"])


def _alike(one: Case, other: Case) -> bool:
    marks, others = one.facts.get("marks"), other.facts.get("marks")
    return marks is None or bool(marks & others)


def _before(task: Task, place: str, case: Case) -> Answer:
    """Return what the calls before a place answer when they are right."""
    answer: Answer = {}
    for call in task.calls:
        if call.place == place:
            break
        answer = task.solve(call.place, case.facts, task.true_rules, answer)
    return answer


def _behind(case: Case | None, text: str) -> str:
    """Return what stands after the case's own text."""
    return text if case is None else text.replace(case.text, " ")


def _before_first(talk: Sequence[str]) -> str:
    """Return what is said before the first reference: instructions, where a layout puts them there."""
    text = "\n".join(talk)
    found = REFERENCE.search(text)
    return text[: found.start()] if found else text


def _normal(key: str) -> float:
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest())
    return _NORMAL.inv_cdf((number + 0.5) / (1 << 56))
