from __future__ import annotations

import asyncio
from typing import Any

import cloudpickle
import pytest

from dspex_agents.clock import ManualClock
from dspex_agents.ids import CountingIds
from dspex_ray.calls import recording, tagged
from dspex_ray.configuration import chosen_lm, configure
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ConfigurationError, InputError, LMServerError, OutputError, ProgramError, UnknownNameError
from dspex_ray.example import make_example
from dspex_ray.lm.base import LMReply
from dspex_ray.programs.program import Program

GOOD = '{"intent": "card"}'


def test_a_call_asks_the_model_and_gives_a_typed_output(route: type[Program], scripted: Any) -> None:
    lm = scripted(GOOD)
    output = route().with_lm(lm).run(message="Where is it?")
    assert output == route.Output.parse({"intent": "card"})
    request = lm.requests[0]
    assert (request.temperature, request.max_tokens, request.top_p) == (0.2, 50, None)
    assert request.response_schema["properties"]["intent"]["enum"] == ["cash", "card", "rate"]
    assert [m.role for m in request.messages] == ["system", "user"]


def test_tuned_values_reach_the_request(route: type[Program], scripted: Any) -> None:
    lm = scripted(GOOD)
    route().with_lm(lm).with_values({"temperature": 1.25}).run(message="x")
    assert lm.requests[0].temperature == 1.25


def test_bad_input_is_refused_before_the_model_is_asked(route: type[Program], scripted: Any) -> None:
    lm = scripted(GOOD)
    with pytest.raises(InputError, match="message: required, but missing"):
        route().with_lm(lm).run(mesage="x")
    assert lm.requests == []


def test_an_invalid_reply_is_asked_again_once_with_its_errors(route: type[Program], scripted: Any) -> None:
    lm = scripted('{"intent": "crad"}', GOOD)
    assert route().with_lm(lm).run(message="x").intent == "card"
    assert len(lm.requests) == 2
    *_, bad, complaint = lm.requests[1].messages
    assert bad.content == '{"intent": "crad"}'
    assert "'crad' is not one of 'cash', 'card', 'rate' (did you mean 'card'?)" in complaint.content


def test_a_reply_that_stays_invalid_is_an_error_with_the_raw_text(route: type[Program], scripted: Any) -> None:
    lm = scripted("first", "second")
    with pytest.raises(OutputError, match=r"scripted/model gave no valid output.*'second'") as caught:
        route().with_lm(lm).run(message="x")
    assert caught.value.raw == "second"
    assert len(lm.requests) == 2


def test_a_reply_cut_off_at_the_token_limit_is_invalid_though_it_parses(route: type[Program], scripted: Any) -> None:
    cut = LMReply(text='{"old": {"intent": "card"}', model="m", finish_reason="length")
    with pytest.raises(OutputError, match="cut off at the token limit"):
        route().with_lm(scripted(cut)).run(message="x")


def test_demonstrations_stand_between_system_and_input(route: type[Program], scripted: Any) -> None:
    lm = scripted(GOOD)
    pool = DemoPool([make_example({"message": m}, {"intent": i}) for m, i in (("fee", "cash"), ("euro", "rate"))])
    program = route().with_lm(lm).with_demo_pool(pool)
    program.with_values({"demos": {"select": "fixed", "ids": [pool.ids[1]]}}).run(message="x")
    assert [m.content for m in lm.requests[0].messages[1:]] == ["euro", '{"intent": "rate"}', "x"]
    program.with_values({"demos": {"select": "nearest", "k": 2}}).run(message="a fee")
    assert [m.content for m in lm.requests[1].messages[1::2]] == ["euro", "fee", "a fee"]


def test_a_demonstration_that_breaks_the_schema_is_named(route: type[Program], scripted: Any) -> None:
    pool = DemoPool([make_example({"message": "m"}, {"intent": "zzz"})])
    program = route().with_lm(scripted(GOOD)).with_demo_pool(pool)
    with pytest.raises(ProgramError, match=f"demonstration '{pool.ids[0]}' breaks the schema: intent: 'zzz'"):
        program.with_values({"demos": {"select": "fixed", "ids": list(pool.ids)}}).run(message="x")


def test_the_embedded_default_answers_by_the_nearest_demonstration(route: type[Program]) -> None:
    rows = {"what does a cash machine cost": "cash", "my card is lost": "card", "rate of the euro": "rate"}
    pool = DemoPool([make_example({"message": m}, {"intent": i}) for m, i in rows.items()])
    program = route().with_demo_pool(pool).with_values({"demos": {"select": "nearest", "k": 2}})
    assert program.lm_name is None
    assert program.run(message="I lost my card").intent == "card"
    assert program.run(message="today's euro rate").intent == "rate"


def test_the_model_is_the_programs_own_then_the_configured_then_the_environments(
    route: type[Program], scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, configured = scripted(GOOD), scripted(GOOD)
    assert chosen_lm() == "embedded/nearest"
    monkeypatch.setenv("DSPEX_LM", "openai/from-env")
    assert chosen_lm() == "openai/from-env"
    configure(lm=configured)
    assert route().lm is configured
    assert route().with_lm(own).lm is own
    with pytest.raises(ConfigurationError):
        configure(lm=3)  # type: ignore[arg-type]


def test_an_unknown_model_is_refused_with_names(route: type[Program]) -> None:
    with pytest.raises(UnknownNameError, match="embedded/nearest"):
        route().with_lm("embeded/nearest").run(message="x")


def test_a_copy_of_a_client_that_came_from_another_process_is_closed(route: type[Program], scripted: Any) -> None:
    class Whole(route):  # type: ignore[misc, valid-type] # a fixture gives the class
        part = route().with_lm(scripted(GOOD))

    program = Whole().with_lm(scripted(GOOD))
    sent = cloudpickle.loads(cloudpickle.dumps(program))
    copies = [sent.lm, sent.part.lm]
    asyncio.run(sent.with_values({"temperature": 0.9}).aclose())
    assert all(copy.closed for copy in copies)  # calling it twice is harmless
    asyncio.run(program.aclose())
    assert (program.lm.closed, program.part.lm.closed) == (0, 0)
    own = scripted(GOOD)
    asyncio.run(sent.with_lm(own).aclose())
    assert own.closed == 0


def test_a_client_the_user_made_is_not_closed(route: type[Program], scripted: Any) -> None:
    lm = scripted(GOOD)
    route().with_lm(lm).run(message="x")
    assert lm.closed == 0


def test_a_record_tells_what_a_call_took(route: type[Program], scripted: Any) -> None:
    with recording(CountingIds(), ManualClock(100.0)) as log, tagged(run_id="r", trial=3), tagged(row=5):
        route().with_lm(scripted(GOOD)).run(message="x")
    (record,) = log.records
    assert record.as_row() == {
        "id": "call-1",
        "at": 100.0,
        "program": route().path,
        "model": "scripted/model",
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "cached_tokens": 0,
        "cost_usd": 0.5,
        "latency_s": 0.0,
        "attempts": 1,
        "status": "ok",
        "error": None,
        "run_id": "r",
        "trial": 3,
        "row": 5,
        "version": None,
        "request_id": None,
        "module": None,
        "agent": None,
        "tenant": None,
        "holder": None,
        "reserved_usd": None,
        "reserved_tokens": None,
    }
    assert log.cost_usd == 0.5


def test_a_failed_call_is_recorded_and_still_raises(route: type[Program], scripted: Any) -> None:
    with recording() as log, pytest.raises(LMServerError):
        route().with_lm(scripted(LMServerError("down", attempts=4))).run(message="x")
    assert [(r.status, r.error, r.attempts) for r in log.records] == [("error", "LMServerError: down", 4)]


def test_the_re_ask_is_a_call_of_its_own(route: type[Program], scripted: Any) -> None:
    with recording() as log:
        route().with_lm(scripted("no", GOOD)).run(message="x")
    assert [r.status for r in log.records] == ["ok", "ok"]
    assert len({r.id for r in log.records}) == 2


def test_a_log_sees_the_calls_of_logs_within_it(route: type[Program], scripted: Any) -> None:
    program = route().with_lm(scripted(GOOD))
    with recording(CountingIds()) as outer:
        program.run(message="x")
        with recording() as inner:
            program.run(message="y")
    program.run(message="z")
    assert [r.id for r in outer.records] == ["call-1", "call-2"]
    assert inner.records == outer.records[1:]


def test_concurrent_calls_keep_their_own_tags(route: type[Program], scripted: Any) -> None:
    program = route().with_lm(scripted(GOOD))

    async def one(row: int) -> None:
        with tagged(row=row):
            await asyncio.sleep(0)
            await program(message=str(row))

    async def every() -> None:
        await asyncio.gather(*(one(row) for row in range(20)))

    with recording() as log:
        asyncio.run(every())
    assert sorted(r.row for r in log.records if r.row is not None) == list(range(20))


def test_a_program_may_call_another(route: type[Program], scripted: Any) -> None:
    class Chain(Program):
        Input = route.Input
        Output = route.Output
        inner = route()

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            return await self.inner.acall(input)

    with recording() as log:
        assert Chain().with_lm(scripted(GOOD)).run(message="x").intent == "card"
    assert len(log.records) == 1
