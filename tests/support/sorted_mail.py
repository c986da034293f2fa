"""A program that sorts mail, and a simulated model whose answers depend on instruction, demos and temperature."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dspex_ray as dspex

LABELS = ("bill", "claim", "greeting", "order")
NUMBER = re.compile(r"letter (\d+)")


class SortMail(dspex.Program):
    """Say what kind of letter it is."""

    class Input(dspex.Schema):
        message: str

    class Output(dspex.Schema):
        kind: Literal["bill", "claim", "greeting", "order"]

    temperature = dspex.Float(0.0, 1.5, default=0.2)
    demos = dspex.Demos(max=4)


def write_mail(path: Path, rows: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("message", "kind"))
        table.writerows((f"letter {number} from a customer", LABELS[number * 7 % 4]) for number in range(rows))
    return path


def sort_mail(messages: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> str:
    """Answer in JSON. The same request has the same answer; a question for an instruction gets one of five."""
    told = json.dumps([messages, body.get("temperature")], sort_keys=True)
    fields = body["response_format"]["json_schema"]["schema"]["properties"]
    if "kind" not in fields:
        style = int(_share("style", told) * 5)
        return json.dumps(dict.fromkeys(fields, f"Sort the letter, in style {style} of the post office."))
    number = int(NUMBER.findall(messages[-1]["content"])[-1])
    told_style = re.search(r"style (\d)", told)
    quality = 0.35 + 0.1 * (len(messages) > 2) + (0.1 * int(told_style[1]) if told_style else 0.0)
    quality -= 0.2 * abs((body.get("temperature") or 0.0) - 0.6)
    right = _share("sorted", told) < quality
    return json.dumps({"kind": LABELS[(number * 7 + (not right)) % 4]})


def _share(*words: str) -> float:
    return int(hashlib.sha256("\0".join(words).encode()).hexdigest()[:8], 16) / 16**8
