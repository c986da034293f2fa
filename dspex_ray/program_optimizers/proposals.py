"""Instructions written by a model: the program that writes one, the errands that ask it, and what of it is accepted."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dspex_ray.errands import errand
from dspex_ray.modules.predict import Predict
from dspex_ray.program_optimizers.proposals_evidence import Attempt, shown_row
from dspex_ray.program_optimizers.proposals_guard import bounded, copied_from
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch
from dspex_ray.schema import Schema, field

MOST_CHARS = 2_000
"""Characters of an instruction, unless its variable allows fewer."""

TIPS = (
    "Say in one or two short sentences what to do.",
    "Give the steps to go through, one after the other.",
    "Name every possible answer or part of the answer, and say when each is right.",
    "Warn of the mistakes that are likely, and say how to avoid each.",
    "Be exact about the form of the answer: what is in it, what is not, and how it is written.",
    "Say who is asked, an expert in what, and what is at stake for those who use the answer.",
    "Say how to decide when several answers seem right or the input is unclear.",
)
"""So that several proposals differ; each asks for another kind of instruction."""

_SHOWN_ROWS = 4  # of the data, as long as no failures are known
_SHOWN_FAILURES = 6
_SHOWN_SUCCESSES = 2


class ProposeInstruction(Predict):
    """Write the instruction for one step of a program that asks a language model.

    You are told what the program is for, what goes into this step and what must come out, how it is told to work at
    present, some rows of data, and how the step did on others. Write the whole text that the step is to be told instead
    of its present instruction. It will be used on inputs that you have not seen: describe the rule behind the data and
    never repeat the wording of its inputs. The form of the answer is explained elsewhere.
    """

    class Input(Schema):
        """What is known of the step."""

        purpose: str = field(description="What the whole program is for.")
        step: str = field(description="The name of the step.")
        fields: list[str] = field(description="What goes into the step and what must come out.")
        present_instruction: str
        other_instructions: list[str] = field(description="What did well too; take over what is good in it.")
        rows: list[str] = field(description="Inputs of the program with the outputs they should give.")
        successes: list[str] = field(description="What the step did where the program was right.")
        failures: list[str] = field(description="What the step did where the program was wrong.")
        tip: str = field(description="What kind of instruction is wanted.")
        most_characters: int

    class Output(Schema):
        """The proposal."""

        instruction: str = field(description="The new instruction, nothing else.")

    demos: Any = None  # data has no examples of good instructions
    temperature: Any = 1.0  # proposals should differ


def proposal_errands(
    sketch: ProgramSketch,
    predictor: Predictor,
    *,
    present: str,
    attempts: Sequence[Attempt] = (),
    others: Sequence[str] = (),
    count: int,
    seed: str,
    most_chars: int = MOST_CHARS,
) -> list[dict[str, Any]]:
    """Return `count` errands that ask for an instruction of one predictor, each shown other data and given another tip.

    They depend on the arguments alone; `seed` also tells their rollouts from those of other rounds.
    """
    rng = random.Random(f"{seed}:{predictor.place}")  # noqa: S311 - a reproducible search holds no secret
    tips = rng.sample(TIPS, len(TIPS))
    first = rng.randrange(1 << 20)
    rows = 0 if any(not one.good for one in attempts) else _SHOWN_ROWS
    return [
        errand(
            ProposeInstruction,
            {
                "purpose": sketch.purpose,
                "step": predictor.place or sketch.name,
                "fields": [*_described(predictor.inputs, "input"), *_described(predictor.outputs, "output")],
                "present_instruction": present,
                "other_instructions": list(others),
                "rows": [shown_row(sketch, row) for row in _some(range(len(sketch.rows)), rows, rng)],
                "successes": _shown([one for one in attempts if one.good], _SHOWN_SUCCESSES, rng),
                "failures": _shown([one for one in attempts if not one.good], _SHOWN_FAILURES, rng),
                "tip": tips[number % len(tips)],
                "most_characters": most_chars,
            },
            first + number + 1,
        )
        for number in range(count)
    ]


def accepted_instruction(
    output: Any, sketch: ProgramSketch, known: Collection[str], most_chars: int = MOST_CHARS
) -> str | None:
    """Return the instruction in the answer to an errand, within its bound.

    None for what is no answer, has nothing within the bound, repeats a `known` text or copies inputs of train rows.
    """
    text = output.get("instruction") if isinstance(output, Mapping) else None
    if not isinstance(text, str):
        return None
    text = bounded(text, most_chars)
    if not text or _folded(text) in {_folded(one) for one in known}:
        return None
    return None if copied_from(text, sketch.rows) is not None else text


def _described(fields: Sequence[FieldSketch], kind: str) -> list[str]:
    return [f"{kind} {one.name}: {one.type}{f' - {one.description}' if one.description else ''}" for one in fields]


def _shown(attempts: Sequence[Attempt], most: int, rng: random.Random) -> list[str]:
    return [str(one) for one in _some(attempts, most, rng)]


def _some(items: Sequence[Any], count: int, rng: random.Random) -> list[Any]:
    return rng.sample(items, min(count, len(items)))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
