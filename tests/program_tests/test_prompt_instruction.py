"""An instruction that is searched reaches the prompt."""

from __future__ import annotations

from typing import Any

from dspex_coordination.variables import Text
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema


class Told(Program):
    """Not this."""

    class Input(Schema):
        question: str

    class Output(Schema):
        answer: int

    instruction = Text("Add the numbers.", pool=["Add up.", "Sum them."])


def test_the_system_message_begins_with_the_chosen_text(scripted: Any) -> None:
    for values, begins in (({}, "Add the numbers."), ({"instruction": "Sum them."}, "Sum them.")):
        lm = scripted('{"answer": 5}')
        Told().with_lm(lm).with_values(values).run(question="2+3")
        assert lm.requests[0].messages[0].content.startswith(f"{begins}\n\nFields of the answer:")
