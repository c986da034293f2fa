"""SelfConsistency over real HTTP: the most frequent answer wins, and no sample is taken that cannot change that."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_models import replies, run_on, served

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest
from dspex_ray.modules.answer_key import answer_key
from dspex_ray.modules.ballots import Ballots
from dspex_ray.modules.samples import Vote, sampling
from dspex_ray.modules.self_consistency import SelfConsistency
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.schema import make_schema


class Sum(dspex.ChainOfThought):
    """Add up."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    temperature = dspex.Float(0.0, 1.5, default=0.0)


class Voted(SelfConsistency):
    program = Sum()
    n = dspex.Int(1, 9, default=3)


def parity(output: Any) -> str:
    return "even" if int(output.answer) % 2 == 0 else "odd"


class ByRollout:
    """Answers by the id of the rollout alone, and counts what was asked."""

    model = "simulated/by-rollout"

    def __init__(self, answers: str) -> None:
        self.answers = answers
        self.asked: list[int] = []
        self.running, self.most = 0, 0

    async def complete(self, request: LMRequest) -> LMReply:
        self.asked.append(request.rollout_id)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        answer = self.answers[request.rollout_id]
        return LMReply(text="nothing" if answer == "-" else json.dumps({"answer": answer}), model=self.model)

    async def stream(self, request: LMRequest) -> Any:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


def voted(answers: str, **settings: Any) -> tuple[Any, Vote, ByRollout]:
    program = SelfConsistency("question -> answer", **{"n": len(answers), **settings})
    lm = ByRollout(answers)
    with sampling() as log:
        output = program.with_lm(lm).run(question="?")
    return output, log.votes[0], lm


def test_the_most_frequent_answer_wins_and_its_earliest_output_is_given() -> None:
    def thought(reasoning: str, answer: str) -> str:
        return json.dumps({"reasoning": reasoning, "answer": answer})

    answers = [thought("a", "7"), thought("b", "8"), thought("c", " 8.0 "), thought("d", "7"), thought("e", "8")]
    told: list[str] = []
    lock = threading.Lock()

    def rule(*_: Any) -> str:
        with lock:
            told.append(answers[len(told)])
            return told[-1]

    with sampling() as log:
        output, asked = run_on(SelfConsistency(Sum(), n=5), rule, question="?")
    assert asked == 5
    assert output.answer.strip(" .0") == "8"
    assert log.votes[0].agreement == 0.6
    (first, *_) = [one.output for one in log.samples if one.output.answer.strip(" .0") == "8"]
    assert output == first


def test_ties_go_to_the_answer_that_came_first() -> None:
    assert voted("abba")[0].answer == "a"
    assert voted("cab")[0].answer == "c"


def test_no_sample_is_taken_that_cannot_change_the_winner() -> None:
    output, vote, lm = voted("aaabb")
    assert (output.answer, vote.votes, vote.samples, vote.saved) == ("a", 3, 3, 2)
    assert sorted({*lm.asked}) == [0, 1, 2]
    assert lm.most == 3  # those that are needed in any case run together
    assert voted("aabab")[1].samples == 4
    assert voted("abcba")[1].samples == 5
    assert voted("ab")[1].samples == 1  # a tie would go to the first one in any case


groups = st.text("abc-", min_size=1, max_size=8)


@given(groups, st.integers(0, 3), st.sampled_from([0.0, 0.4, 0.5, 0.75, 1.0]))
def test_what_runs_together_is_what_one_after_another_would_have_asked(answers: str, more: int, least: float) -> None:
    def counted(*, at_once: bool) -> Ballots:
        ballots = Ballots(max(1, len(answers) - more), len(answers), least)
        while not ballots.settled:
            for _ in range(ballots.surely_needed() if at_once else 1):
                group = answers[ballots.taken]
                ballots = ballots.with_failure() if group == "-" else ballots.with_vote(group)
        return ballots

    assert counted(at_once=True) == counted(at_once=False)


@given(groups)
def test_the_early_winner_is_the_winner_of_all_samples_whatever_is_not_asked(answers: str) -> None:
    ballots = Ballots(len(answers), len(answers))
    for group in answers:
        if ballots.agreed:
            break
        ballots = ballots.with_failure() if group == "-" else ballots.with_vote(group)
    left = len(answers) - ballots.taken
    for rest in itertools.product("abcd-", repeat=min(left, 4)):
        cast = [one for one in (*answers[: ballots.taken], *rest) if one != "-"]
        full = Counter(cast).most_common(1)  # equals in the order of their first vote
        assert (ballots.winner or ("",))[0] == (full[0][0] if full else "") or not ballots.agreed


def test_a_share_that_is_not_reached_is_an_error_that_says_so() -> None:
    with pytest.raises(OutputError, match=r"has 2 of 4 samples, and min_agreement is 0\.8") as caught:
        voted("aabbb", min_agreement=0.8)
    assert '"a"' in caught.value.raw


def test_more_samples_are_taken_until_enough_agree() -> None:
    output, vote, _ = voted("abbbbbbbb", n=3, min_agreement=0.75, max_samples=9)
    assert (output.answer, vote.votes, vote.samples, vote.saved) == ("b", 3, 4, 0)
    with pytest.raises(OutputError, match="max_samples"):
        voted("abababababab", n=3, min_agreement=0.75, max_samples=6)


def test_a_sample_that_never_becomes_valid_has_no_vote() -> None:
    output, vote, _ = voted("-a-bb")
    assert (output.answer, vote.votes, vote.samples) == ("b", 2, 5)
    with pytest.raises(OutputError, match="gave no valid output"):
        voted("---")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", " paris. ", True),
        ("New  York", "new york", True),
        ("1,234", "1234.0", True),
        ("$5", "5", True),
        ("5 apples", "5 pears", False),
        ("Paris", "Rome", False),
        ("1/2", "1 2", False),
    ],
)
def test_texts_that_say_the_same_are_one_answer(one: str, other: str, *, same: bool) -> None:
    output = make_schema("Output", {"answer": str})
    keys = [answer_key(output.parse({"answer": text}), ()) for text in (one, other)]
    assert (keys[0] == keys[1]) is same


def test_numbers_are_compared_by_value_and_lists_by_their_order() -> None:
    output = make_schema("Output", {"total": float, "parts": list[float], "sure": (bool, {"default": True})})
    first = output.parse({"total": 0.1 + 0.2, "parts": [1, 2]})
    assert answer_key(first, ()) == answer_key(output.parse({"total": 0.3, "parts": [1.0, 2.0]}), ())
    assert answer_key(first, ()) != answer_key(output.parse({"total": 0.3, "parts": [2, 1]}), ())
    assert answer_key(first, {"parts"}) == answer_key(output.parse({"total": 0.3, "parts": []}), {"parts"})
    assert answer_key(first, ()) != answer_key(output.parse({"total": 0.3, "parts": [1, 2], "sure": False}), ())


def test_a_key_of_your_own_says_what_agrees() -> None:
    output, asked = run_on(SelfConsistency("q -> answer", n=4, key=parity), replies("1", "3", "1"), q="?")
    assert (output.answer, asked) == ("1", 2)
    assert voted("1246", key=parity)[0].answer == "2"
    with pytest.raises(ProgramError, match="which cannot be counted"):
        voted("11", key=lambda output: [output.answer])


@pytest.mark.parametrize(
    ("program", "settings", "temperature"),
    [
        (Sum(), {}, 0.7),
        (Sum().with_values({"temperature": 1.2}), {}, 1.2),
        (Sum(), {"temperature": 0.4}, 0.4),
        ("question -> answer", {}, 0.7),
        ("question -> answer", {"temperature": 0.9}, 0.9),
        (dspex.Predict("question -> answer"), {}, None),
        (dspex.Predict("question -> answer", temperature=dspex.Float(0.0, 0.5, default=0.1)), {}, 0.1),
    ],
)
def test_samples_are_taken_at_a_temperature(program: Any, settings: dict[str, Any], temperature: float | None) -> None:
    reply = json.dumps({"reasoning": "so", "answer": "x"} if isinstance(program, Sum) else {"answer": "x"})
    with served([reply]) as (server, lm):
        SelfConsistency(program, n=1, **settings).with_lm(lm).run(question="?")
        assert server.last_body.get("temperature") == temperature


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"n": 0}, "n is a whole number from 1 on"),
        ({"temperature": 0.5}, "has no such variable"),
        ({"temperature": dspex.Float(0, 1)}, "temperature is a number"),
        ({"min_agreement": None}, "min_agreement is a number"),
        ({"max_samples": 0}, "max_samples is a whole number"),
        ({"key": "answer"}, "key is a function of an output"),
        ({"metric": len}, "Unknown setting of SelfConsistency 'metric'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_when_it_is_made(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        SelfConsistency(dspex.Predict("question -> answer"), **settings)


def test_the_variables_of_the_program_are_found_under_it() -> None:
    assert set(Voted().space().names) == {"n", "program.temperature", "program.demos"}
    assert Voted().values["program.temperature"] == 0.7
    assert Voted.unlabelled == {"reasoning"}
    with recording() as log, pytest.raises(OutputError, match="reasoning"):
        Voted().with_lm(ByRollout("a")).with_values({"n": 1}).run(question="?")
    assert [(call.program, call.module) for call in log.records] == [(f"{__name__}:Voted", "program")] * 2


@pytest.mark.parametrize(
    "program", [Voted(), SelfConsistency(Sum(), n=dspex.Int(1, 5)), SelfConsistency("question -> answer", key=parity)]
)
def test_it_is_the_same_after_a_journey_and_from_its_state(program: SelfConsistency) -> None:
    journeys: list[Any] = [Parcel.of(program).open(), program_from_state(program.state())]
    for again in journeys:
        assert (again.path, again.values) == (program.path, program.values)
        assert again.program.temperature == 0.7
        reply = json.dumps({"answer": "4"} | dict.fromkeys(again.unlabelled, "so"))
        output, asked = run_on(again, [reply] * 3, question="?")
        assert (output.answer, asked) == ("4", again.n // 2 + 1)
