"""Extraction with normalisation: six fields of a delivery note, each written as a house rule wants it."""

from __future__ import annotations

import random

from optimizers_bench.rules import Answer, Call, Facts, Followed, Rule, Task

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
_OUTPUTS = ("date", "customer", "item", "weight", "units", "amount")


def _make(draws: random.Random) -> tuple[str, Facts]:
    facts: dict[str, object] = {
        "day": draws.randint(1, 28),
        "month": draws.randint(1, len(_MONTHS)),
        "first": draws.choice(("Maria", "Otto", "Nina", "Paul", "Rosa", "Sven")),
        "last": draws.choice(("Keller", "Lund", "Moss", "Novak", "Olsen", "Peters")),
        "letters": "".join(draws.choices("abcdefgh", k=2)),
        "number": draws.randint(100, 999),
        "kilos": draws.randint(2, 40) / 4,
        "boxes": draws.randint(2, 9),
        "euros": draws.randint(200, 4000) / 20,
        "returned": draws.random() < 0.3,
        "sample": draws.random() < 0.3,
    }
    f = facts
    text = (
        f"{'Returned' if f['returned'] else 'Delivered'} on {f['day']} {_MONTHS[f['month'] - 1]} 2025 "  # type: ignore[operator] - an int
        f"to {f['first']} {f['last']}: {f['boxes']} boxes of item {f['letters']}-{f['number']}, {f['kilos']} kg, "
        f"{f['euros']:.2f} euros{', free sample' if f['sample'] else ''}."
    )
    return text, facts


def _solve(_place: str, facts: Facts, followed: Followed, _before: Answer) -> Answer:
    units = facts["boxes"] * (12 if "dozen" in followed else 1)
    cents = round(facts["euros"] * 100)
    amount = str(cents) if "cents" in followed else f"{facts['euros']:.2f}"
    if facts["sample"] and "sample" in followed:
        amount = "0"
    if facts["returned"] and "returned" in followed:
        units = -units
    item = f"{facts['letters']}-{facts['number']}"
    date = f"{facts['day']} {_MONTHS[facts['month'] - 1]} 2025"
    if "iso" in followed:
        date = f"2025-{facts['month']:02}-{facts['day']:02}"
    customer = f"{facts['first']} {facts['last']}"
    if "surname" in followed:
        customer = f"{facts['last']}, {facts['first']}"
    return {
        "date": f"{facts['day']:02}/{facts['month']:02}/2025" if "slashes" in followed else date,
        "customer": customer.upper() + "." if "initials" in followed else customer,
        "item": item.replace("-", "").upper() if "item" in followed else item,
        "weight": f"{facts['kilos'] * 1000:.0f}" if "grams" in followed else f"{facts['kilos']} kg",
        "units": str(units + 1) if "spare" in followed else str(units),
        "amount": amount,
    }


def _slip(_place: str, answer: Answer, draws: random.Random) -> Answer:
    field = draws.choice(_OUTPUTS)
    return {**answer, field: f"{answer[field]}?"}


def _rule(name: str, concepts: tuple[str, ...], wordings: tuple[str, ...], hint: str = "") -> Rule:
    return Rule(name, "", concepts, wordings, hint, unaided=0.3)


EXTRACTION = Task(
    name="extraction",
    prefix="DN",
    purpose="Extract the fields of the delivery note.",
    calls=(Call("", "Extract the fields of the delivery note.", ("note",), dict.fromkeys(_OUTPUTS, str)),),
    rules=(
        _rule(
            "iso",
            (r"date", r"iso|yyyy-mm|year first"),
            ("Write the date as YYYY-MM-DD.", "Dates are in ISO form."),
            "the form of the date",
        ),
        _rule(
            "surname",
            (r"name|customer", r"surname first|last name first|last, first|surname, "),
            ("Write the customer with the last name first: Last, First.",),
            "the order of the names",
        ),
        _rule(
            "item",
            (r"item|code", r"upper|capital"),
            ("Write the item code in upper case and without dashes.", "Item codes are capitals, no hyphen."),
            "how item codes are written",
        ),
        _rule("grams", (r"weight", r"gram"), ("Give the weight in grams, a whole number.",), "the unit of weight"),
        _rule(
            "dozen",
            (r"box|units", r"twelve|12|dozen"),
            ("A box holds 12 units.", "Units are boxes times twelve."),
            "units are not boxes",
        ),
        _rule("cents", (r"amount|euro|price", r"\bcents?\b"), ("Give the amount in cents.",), "the unit of money"),
        _rule(
            "returned",
            (r"return", r"negativ|minus"),
            ("Units of a returned delivery are negative.",),
            "the direction of the delivery",
        ),
        _rule(
            "sample", (r"sample", r"\b0\b|zero|nothing"), ("The amount of a free sample is 0.",), "what is not paid for"
        ),
    ),
    decoys=(
        _rule("slashes", (r"date", r"dd/mm|slash"), ("Write the date as DD/MM/YYYY.",)),
        _rule("initials", (r"name|customer", r"full stop|period"), ("End names, in capitals, with a full stop.",)),
        _rule("spare", (r"unit|box", r"spare|one more|extra"), ("Count one spare unit more.",)),
    ),
    make=_make,
    solve=_solve,
    slip=_slip,
)
