"""Small word problems with a bakery's conventions: the total of an order."""

from __future__ import annotations

import math
import random

from optimizers_bench.rules import Answer, Call, Facts, Followed, Rule, Task

_MARKS = {
    "staff": "The customer works here.",
    "express": "It goes by express.",
    "card": "There is a loyalty card.",
    "stale": "The bread is from yesterday.",
    "tray": "They want a tray.",
    "birthday": "It is their birthday.",
    "rain": "It rains.",
    "cash": "They pay in cash.",
}


def _make(draws: random.Random) -> tuple[str, Facts]:
    marks = [name for name in _MARKS if draws.random() < 0.16]
    by_dozen = draws.random() < 0.35
    facts = {
        "count": draws.randint(1, 5) if by_dozen else draws.randint(4, 50),
        "by_dozen": by_dozen,
        "price": draws.randint(2, 8) / 2,
        "delivery": draws.randint(3, 9),
        "marks": frozenset(marks),
    }
    amount = f"{facts['count']} dozen" if by_dozen else str(facts["count"])
    said = [_MARKS[name] for name in marks]
    text = f"{amount} rolls at {facts['price']} euros each, delivery {facts['delivery']} euros."
    return " ".join([text, *said]), facts


def _solve(_place: str, facts: Facts, followed: Followed, _before: Answer) -> Answer:
    def holds(name: str) -> bool:
        return name in followed and name in facts["marks"]

    pieces = facts["count"] * ((13 if "dozen" in followed else 12) if facts["by_dozen"] else 1)
    goods = pieces * facts["price"]
    if pieces > 30 and "bulk" in followed:
        goods *= 0.9
    if holds("stale"):
        goods /= 2
    delivery = facts["delivery"] * (2 if holds("express") else 1)
    if holds("staff"):
        delivery = 0
    total = goods + delivery - (3 if holds("card") else 0) + (4 if holds("tray") else 0)
    for name, extra in (("rain", 2), ("cash", -1), ("birthday", -5)):
        total += extra if holds(name) else 0
    return {"total": float(math.ceil(total - 1e-9)) if "whole" in followed else round(total, 2)}


def _slip(_place: str, answer: Answer, draws: random.Random) -> Answer:
    return {"total": answer["total"] + draws.choice((-10, -2, 1, 2, 10))}


def _rule(name: str, concepts: tuple[str, ...], wordings: tuple[str, ...], hint: str = "") -> Rule:
    return Rule(name, "", concepts, wordings, hint, unaided=0.3, thoughtful=True)


ARITHMETIC = Task(
    name="arithmetic",
    prefix="MX",
    purpose="Work out the total of the order.",
    calls=(Call("", "Work out the total of the order.", ("order",), {"total": float}),),
    rules=(
        _rule(
            "dozen", (r"dozen", r"13|thirteen"), ("A dozen is 13 here.", "Count 13 rolls for each dozen."), "the dozen"
        ),
        _rule(
            "bulk",
            (r"30|thirty|bulk", r"10 ?%|ten per ?cent|0\.9"),
            ("Take 10% off the goods when there are more than 30 rolls.",),
            "large orders",
        ),
        _rule(
            "stale",
            (r"yesterday|stale|old bread", r"half|50 ?%"),
            ("Bread from yesterday is half price.",),
            "the age of the bread",
        ),
        _rule(
            "express",
            (r"express", r"doubl|twice|two times"),
            ("Express doubles the delivery fee.",),
            "the way of delivery",
        ),
        _rule(
            "staff",
            (r"staff|employee|works? here", r"free|no delivery|without|zero"),
            ("Delivery is free for staff who work here.",),
            "who the customer is",
        ),
        _rule("card", (r"loyalty|card", r"\b3\b|three"), ("A loyalty card takes 3 euros off.",), "the card"),
        _rule("tray", (r"tray", r"\b4\b|four"), ("A tray costs 4 euros.",), "the tray"),
        _rule("whole", (r"round", r"\bup\b|whole"), ("Round the total up to a whole euro.",), "fractions of a euro"),
    ),
    decoys=(
        _rule("rain", (r"rain", r"\b2\b|two"), ("Add 2 euros when it rains.",)),
        _rule("cash", (r"cash", r"\b1\b|one euro"), ("Take 1 euro off for cash.",)),
        _rule("birthday", (r"birthday", r"\b5\b|five"), ("Take 5 euros off on a birthday.",)),
    ),
    make=_make,
    solve=_solve,
    slip=_slip,
)
