"""Instructions that a model writes: what it is shown, what of its answer is accepted, and that no row is copied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dspex_ray as dspex
from dspex_coordination import Candidate, Told
from dspex_ray.errands import run_errand
from dspex_ray.example import Example, make_example
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.proposals import MOST_CHARS, TIPS, accepted_instruction, proposal_errands
from dspex_ray.program_optimizers.proposals_evidence import attempts_by_place
from dspex_ray.program_optimizers.proposals_guard import bounded, copied_from
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

LONG = "my new card was swallowed by the machine at the main station yesterday evening"
ROWS = [
    make_example({"message": LONG}, {"label": "card_swallowed"}),
    make_example({"message": "where is my new card"}, {"label": "card_arrival"}),
    make_example({"message": "top up failed"}, {"label": "top_up"}),
]


class Route(dspex.Predict):
    """Route a message of a bank's customer."""

    class Input(dspex.Schema):
        message: str = dspex.field(description="What the customer wrote.")

    class Output(dspex.Schema):
        label: str


SKETCH = ProgramSketch.of(Route(), ROWS)


def looked(scores: tuple[float, ...], **more: Any) -> Told:
    notes = tuple(
        {
            "error": None,
            "feedback": f"feedback {row}",
            "trace": [{"place": "", "input": ROWS[row].input, "output": {"label": f"guess {row}"}}],
        }
        for row in range(3)
    )
    values: dict[str, Any] = {"rows": (0, 1, 2), "outputs": (None,) * 3, "notes": notes, "failed": None, **more}
    return Told(1, Candidate({}), "train", scores=scores, cost_usd=0.0, **values)


def errands(count: int = 4, seed: str = "0", told: Told | None = None) -> list[dict[str, Any]]:
    attempts = {} if told is None else attempts_by_place(SKETCH, told)
    return proposal_errands(
        SKETCH, SKETCH.predictors[0], present="Route.", attempts=attempts.get("", ()), count=count, seed=seed
    )


def test_a_run_of_words_from_an_input_is_found_whatever_its_case_and_punctuation() -> None:
    text = "For instance, 'My new card was swallowed -- by the machine at the MAIN station' is a lost card."
    assert copied_from(text, ROWS) == "my new card was swallowed by the machine at the main station"


def test_a_whole_short_input_is_a_copy_and_a_part_of_one_is_not() -> None:
    assert copied_from("If asked 'Where is my new card?', answer card_arrival.", ROWS) == "where is my new card"
    assert copied_from("If asked where a new card is, or if a top up failed, say so.", ROWS) is None


def test_what_many_rows_have_in_common_is_no_copy() -> None:
    form = "decide whether the following review of a film is good or bad"
    rows = [make_example({"text": f"{form}: film number {n}"}, {"label": "good"}) for n in range(30)]
    assert copied_from(f"You {form}.", rows) is None
    assert copied_from(f"You {form}.", rows[:1]) == form


@given(st.lists(st.sampled_from("abcdefghij"), min_size=9, max_size=30), st.data())
def test_any_nine_words_in_a_row_of_an_input_are_found(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 9))
    row = Example("1", {"nested": [{"text": " ".join(words)}]}, {})
    found = copied_from(f"Say {' '.join(words[start : start + 9])} now", [row])
    assert found is not None
    assert len(found.split()) >= 9


@given(st.text(max_size=300), st.integers(1, 100))
def test_a_bounded_text_keeps_to_its_bound_and_begins_as_given(text: str, most: int) -> None:
    made = bounded(text, most)
    assert len(made) <= most
    assert made in text


def test_a_text_too_long_is_cut_after_a_whole_sentence() -> None:
    assert bounded("Read it. Then answer with the label. And so on", 40) == "Read it. Then answer with the label."
    assert bounded("word " * 40, 40) == ""
    assert bounded('```\n"Say yes."\n```', 40) == "Say yes."
    assert bounded('"Say yes."', 40) == "Say yes."


@pytest.mark.parametrize(
    "output",
    [None, "out", {}, {"instruction": 3}, {"instruction": "  "}, {"instruction": "ROUTE.  "}, {"instruction": LONG}],
)
def test_what_is_no_new_instruction_is_not_accepted(output: Any) -> None:
    assert accepted_instruction(output, SKETCH, ["Route."]) is None


def test_a_new_instruction_is_accepted_within_its_bound() -> None:
    assert accepted_instruction({"instruction": "Name the topic."}, SKETCH, ["Route."]) == "Name the topic."
    long = {"instruction": "Name the topic. " * 1000}
    assert len(accepted_instruction(long, SKETCH, [], 100) or "") == 95
    assert MOST_CHARS - 20 < len(accepted_instruction(long, SKETCH, []) or "") <= MOST_CHARS


def test_errands_differ_in_tip_rows_and_rollout_and_depend_on_the_seed_alone() -> None:
    made = errands(len(TIPS))
    assert {one["input"]["tip"] for one in made} == set(TIPS)
    assert len({one["rollout"] for one in made}) == len(TIPS)
    assert made == errands(len(TIPS))
    assert made != errands(len(TIPS), seed="1")
    assert made[0]["input"]["fields"] == ["input message: str - What the customer wrote.", "output label: str"]
    assert made[0]["input"]["purpose"] == "Route a message of a bank's customer."


def test_errands_show_what_went_well_and_what_did_not_with_the_right_output() -> None:
    (one,) = errands(1, told=looked((1.0, 0.0, 1.0)))
    assert len(one["input"]["successes"]) == 2
    (failure,) = one["input"]["failures"]
    assert failure == (
        "where is my new card\n  answered: guess 1\n  right would have been: card_arrival\n  said of it: feedback 1"
    )


@pytest.mark.parametrize(("scores", "good"), [((0.0, 0.0, 0.0), 0), ((1.0, 1.0, 1.0), 3), ((70.0, 20.0, 90.0), 2)])
def test_a_row_went_well_if_it_did_better_than_the_others(scores: tuple[float, ...], good: int) -> None:
    assert sum(one.good for one in attempts_by_place(SKETCH, looked(scores))[""]) == good


def test_a_failed_trial_and_one_without_notes_show_nothing() -> None:
    assert attempts_by_place(SKETCH, looked((), rows=(), outputs=(), notes=(), failed="boom")) == {}
    assert attempts_by_place(SKETCH, looked((1.0, 0.0, 1.0), notes=())) == {}


def test_no_prompt_holds_a_secret_field() -> None:
    fields = (FieldSketch("message", "str", ""), FieldSketch("pin", "Secret", ""))
    rows = (Example("1", {"message": "hello", "pin": "4711"}, {"label": "greeting"}),)
    call = Predictor("", "Route.", "instruction", None, 0, fields, (FieldSketch("label", "str", ""),))
    made = proposal_errands(ProgramSketch("Route", "Route.", (call,), rows), call, present="Route.", count=1, seed="0")
    assert made[0]["input"]["rows"] == ["hello\n  -> greeting"]


def test_a_model_answers_the_errand_with_an_instruction() -> None:
    class Writer:
        model = "simulated/writer"

        async def complete(self, request: LMRequest) -> LMReply:
            seen.append(request)
            text = '{"instruction": "Name the topic."}'
            return LMReply(text=text, model=self.model, usage=Usage(prompt_tokens=1, completion_tokens=1), cost_usd=0.0)

        async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
            yield LMChunk(reply=await self.complete(request))

        async def aclose(self) -> None:
            """Nothing is open."""

    seen: list[LMRequest] = []
    (one,) = errands(1, told=looked((1.0, 0.0, 1.0)))
    answer = asyncio.run(run_errand(one, Writer()))
    assert answer == {"instruction": "Name the topic."}
    prompt = "\n".join(str(message.content) for message in seen[0].messages)
    assert one["input"]["tip"] in prompt
    assert "right would have been: card_arrival" in prompt
    assert seen[0].temperature == 1.0
