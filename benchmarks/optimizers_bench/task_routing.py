"""Routing with exceptions: a topic gives the desk, unless one of eight rules, in their order, says otherwise."""

from __future__ import annotations

import random
from typing import Any

from optimizers_bench.rules import Answer, Call, Facts, Followed, Rule, Task

_TOPICS = {
    "an invoice that is wrong": "billing",
    "a parcel that is late": "shipping",
    "a login that fails": "technical",
    "shoes that do not fit": "returns",
}
_EXCEPTIONS: dict[str, tuple[str, str, str, str, str]] = {
    # name: what the ticket says, the concept, the desk, the rule in words, the hint
    "lawyer": (
        "Their lawyer has been told.", r"lawyer|attorney|legal action", "legal",
        "a lawyer is mentioned", "somebody else was told",
    ),
    "minor": (
        "The customer is sixteen years old.", r"minor|under ?(18|eighteen|age)|sixteen|child", "guardian",
        "the customer is a minor (under 18)", "the age of the customer matters",
    ),
    "reseller": (
        "The order was placed through a reseller.", r"resell|partner shop|third[- ]party", "partners",
        "the order came through a reseller", "where the order was placed matters",
    ),
    "third": (
        "It is their third complaint this month.", r"third (complaint|time)|repeated|3rd", "escalation",
        "it is the third complaint", "how often they wrote matters",
    ),
    "amount": (
        "It is about 780 euros.", r"(over|above|more than|exceed)\D*500|780|large amount|high amount", "finance",
        "the amount is more than 500 euros", "the amount matters",
    ),
    "giftcard": (
        "They paid with a gift card.", r"gift ?card|voucher", "loyalty",
        "a gift card was used to pay", "how they paid matters",
    ),
    "school": (
        "The customer is a school.", r"school|educat", "campus",
        "the customer is a school", "what kind of customer it is matters",
    ),
    "norway": (
        "They live in Norway.", r"norw|nordic", "nordic",
        "the customer lives in Norway", "where they live matters",
    ),
}  # fmt: skip
_DECOYS = {
    "weekend": ("It was sent on a Sunday.", r"sunday|weekend", "technical", "it was sent on a Sunday"),
    "phone": ("They called first.", r"call|phone", "billing", "they called first"),
    "polite": ("They say thank you.", r"thank|polite", "returns", "they say thank you"),
}
_WORDINGS = (
    "If {occasion}, the desk is {desk}.",
    "Use {desk} whenever {occasion}.",
    "Choose the desk {desk} when {occasion}, whatever the topic.",
)


def _make(draws: random.Random) -> tuple[str, Facts]:
    topic = draws.choice(list(_TOPICS))
    marks = draws.sample(list(_EXCEPTIONS), draws.choices((0, 1, 2), (4, 10, 4))[0])
    noise = [name for name in _DECOYS if draws.random() < 0.25]
    said = [_EXCEPTIONS[name][0] for name in marks] + [_DECOYS[name][0] for name in noise]
    draws.shuffle(said)
    name = draws.choice(("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn"))
    return " ".join([f"{name} writes about {topic}.", *said]), {"topic": topic, "marks": {*marks, *noise}}


def _solve(_place: str, facts: Facts, followed: Followed, _before: Answer) -> Answer:
    for name, (_, _, desk, _, _) in _EXCEPTIONS.items():
        if name in followed and name in facts["marks"]:
            return {"desk": desk}
    for name, (_, _, desk, _) in _DECOYS.items():
        if name in followed and name in facts["marks"]:
            return {"desk": desk}
    return {"desk": _TOPICS[facts["topic"]]}


def _slip(_place: str, answer: Answer, draws: random.Random) -> Answer:
    return {"desk": draws.choice([desk for desk in _TOPICS.values() if desk != answer["desk"]])}


def _rule(name: str, entry: tuple[Any, ...]) -> Rule:
    _, concept, desk, occasion, *hint = entry
    wordings = tuple(one.format(occasion=occasion, desk=desk) for one in _WORDINGS)
    return Rule(name, "", (concept, rf"\b{desk}\b"), wordings, *hint, unaided=0.2)


ROUTING = Task(
    name="routing",
    prefix="TK",
    purpose="Choose the desk that handles the ticket.",
    calls=(Call("", "Choose the desk that handles the ticket.", ("ticket",), {"desk": str}),),
    rules=tuple(_rule(name, entry) for name, entry in _EXCEPTIONS.items()),
    decoys=tuple(_rule(name, entry) for name, entry in _DECOYS.items()),
    make=_make,
    solve=_solve,
    slip=_slip,
)
