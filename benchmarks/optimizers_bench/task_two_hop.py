"""Two calls: a report gives a finding, report and finding give an action; only the action is labelled."""

from __future__ import annotations

import random

from optimizers_bench.rules import Answer, Call, Facts, Followed, Rule, Task

_SIGNS = {"It shakes": "bearing", "It leaks": "seal", "It does not start": "motor", "All gauges are normal": "none"}
_ACTIONS = {"bearing": "lubricate", "seal": "tighten", "motor": "reset", "none": "monitor"}
_MARKS = {
    "oil": "The oil is dark.",
    "north": "It stands at site North.",
    "hum": "It hums.",
    "hot": "It is 95 degrees hot.",
    "rental": "The pump is rented.",
    "overdue": "The last service was 14 months ago.",
    "spare": "There is no spare part.",
    "night": "It is the night shift.",
    "paint": "The paint is new.",
    "visit": "Visitors are on site.",
}
_FINDINGS = {"oil": "seal", "hum": "bearing", "hot": "motor", "paint": "none"}
_ORDERS = {"rental": "return", "spare": "order", "overdue": "inspect", "night": "wait", "visit": "stop"}


def _make(draws: random.Random) -> tuple[str, Facts]:
    sign = draws.choice(list(_SIGNS))
    marks = [name for name in _MARKS if draws.random() < 0.16]
    draws.shuffle(marks)
    text = f"Report on pump P{draws.randint(1, 40)}. {sign}."
    return " ".join([text, *(_MARKS[name] for name in marks)]), {"sign": sign, "marks": frozenset(marks)}


def _solve(place: str, facts: Facts, followed: Followed, before: Answer) -> Answer:
    marks = facts["marks"] & followed
    if place == "diagnose":
        finding = _SIGNS[facts["sign"]]
        if "north" in marks and finding == "bearing":
            finding = "none"
        for name, cause in _FINDINGS.items():
            if name in marks:
                finding = cause
                break
        return {"finding": finding}
    for name in ("rental", "spare", "overdue", "night", "visit"):
        if name in marks:
            return {"action": _ORDERS[name]}
    return {"action": _ACTIONS.get(str(before.get("finding")).strip().casefold(), "monitor")}


def _slip(place: str, answer: Answer, draws: random.Random) -> Answer:
    field = "finding" if place == "diagnose" else "action"
    options = _ACTIONS if place == "diagnose" else _ACTIONS.values()
    return {field: draws.choice([one for one in options if one != answer[field]])}


def _finds(name: str, occasion: str, concept: str, hint: str = "") -> Rule:
    cause = _FINDINGS.get(name, "none")
    wordings = (f"If {occasion}, the finding is {cause}.", f"Take {cause} as the finding when {occasion}.")
    return Rule(name, "diagnose", (concept, rf"\b{cause}\b"), wordings, hint, unaided=0.2)


def _orders(name: str, occasion: str, concept: str, hint: str = "") -> Rule:
    order = _ORDERS[name]
    wordings = (f"If {occasion}, the action is {order}.", f"Choose {order} whenever {occasion}.")
    return Rule(name, "decide", (concept, rf"\b{order}\b"), wordings, hint, unaided=0.2)


TWO_HOP = Task(
    name="two_hop",
    prefix="PR",
    purpose="Say what to do about the pump.",
    calls=(
        Call("diagnose", "Name the part that the report points to.", ("report",), {"finding": str}),
        Call("decide", "Choose what to do about the finding.", ("report", "finding"), {"action": str}),
    ),
    rules=(
        _finds("oil", "the oil is dark", r"dark", "the colour of the oil matters"),
        _finds("hum", "it hums", r"hum", "the noise matters"),
        _finds("hot", "it is more than 90 degrees hot", r"\bhot\b|degrees|temperature", "the temperature matters"),
        _finds("north", "it shakes at site North", r"north", "the site matters"),
        _orders("rental", "the pump is rented", r"rent", "who owns the pump matters"),
        _orders("spare", "there is no spare part", r"spare", "what is in stock matters"),
        _orders(
            "overdue", "the last service was over 12 months ago", r"service|overdue", "the date of the service matters"
        ),
        _orders("night", "it is the night shift", r"night", "the hour matters"),
    ),
    decoys=(
        _finds("paint", "the paint is new", r"paint"),
        _orders("visit", "visitors are on site", r"visit"),
    ),
    make=_make,
    solve=_solve,
    slip=_slip,
)
