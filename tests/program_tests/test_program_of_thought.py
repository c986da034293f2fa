"""ProgramOfThought over real HTTP: code is run, its errors go back, and its value becomes the output."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import cloudpickle
import pytest

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.code_runner import CodeLimits, MontyRunner, Ran
from dspex_ray.errors import ConfigurationError, OutputError, ProgramError
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.modules.program_of_thought import ProgramOfThought
from dspex_ray.modules.trajectory import Attempt, trajectories
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.schema import Schema, Secret
from dspex_ray.testing.model_server import ModelServer
from dspex_ray.tools import Tool, tool

pytest.importorskip("pydantic_monty", reason="the extra `code` is not installed")
Tries = list[dict[str, Any]]


def rate(currency: str) -> float:
    """Return the price of a currency in euros."""
    return {"usd": 0.5, "gbp": 2.0}[currency]


def thinking(around: Any, **settings: Any) -> Any:
    return ProgramOfThought(around, **settings)


def is_write(messages: Sequence[Mapping[str, Any]]) -> bool:
    return '"plan"' in messages[0]["content"]


def model(write: Callable[[Tries], str], answer: Callable[[Tries], Mapping[str, Any]] | None = None) -> Any:
    """Return a rule that reads the attempts it is shown, as a model does."""

    def rule(messages: Sequence[Mapping[str, Any]], _: Mapping[str, Any]) -> str:
        tries: Tries = json.loads(messages[-1]["content"].partition("attempts: ")[2])
        if is_write(messages):
            return json.dumps({"plan": "Compute it.", "code": write(tries)})
        assert answer is not None
        return json.dumps(answer(tries))

    return rule


def asked(program: Any, rule: Any, **fields: Any) -> tuple[Any, int]:
    """Return the output and how many requests it took."""
    with ModelServer(answer=rule) as server:
        return ran(program, server, **fields), server.counters()["requests"]


def ran(program: Any, server: ModelServer, **fields: Any) -> Any:
    async def once() -> Any:
        lm = OpenAICompatibleLM("vllm/m", wire_model="m", base_url=server.base_url, api_key=None, price=None)
        try:
            return await program.with_lm(lm)(**fields)
        finally:
            await lm.aclose()

    return asyncio.run(once())


def test_a_value_that_is_the_output_needs_no_other_call() -> None:
    program = thinking("prices: list[float] -> total: float")
    output, requests = asked(program, model(lambda _: "sum(prices)"), prices=[1.5, 2.5])
    assert (output.total, requests) == (4.0, 1)


def test_an_object_of_all_fields_is_the_output_too() -> None:
    program = thinking("words: list[str] -> longest: str, count: int = 0")
    code = "{'longest': max(words, key=len), 'count': len(words)}"
    output, requests = asked(program, model(lambda _: code), words=["a", "bcd"])
    assert (output.longest, output.count, requests) == ("bcd", 2, 1)


def test_an_error_goes_back_and_the_next_code_is_run() -> None:
    def write(tries: Tries) -> str:
        return "n // 0" if not tries else "n // 2" if "ZeroDivisionError" in tries[0]["error"] else "0"

    with trajectories() as heard, recording() as log:
        output, requests = asked(thinking("n: int -> half: int"), model(write), n=9)
    assert (output.half, requests) == (4, 2)
    assert [call.module for call in log.records] == ["write", "write"]
    first, second = heard[0].turns
    assert "line 1" in first.error
    assert second == Attempt(code="n // 2", value=4)
    assert heard[0].ended == "done"


def test_code_that_gives_nothing_is_an_error_of_the_code() -> None:
    def write(tries: Tries) -> str:
        return "half = n // 2" if not tries else "n // 2" if "end it with an expression" in tries[0]["error"] else "0"

    assert asked(thinking("n: int -> half: int"), model(write), n=8)[0].half == 4


def test_what_is_printed_is_turned_into_the_output_by_one_more_call() -> None:
    rule = model(
        lambda _: "print('the half is', n // 2)", lambda tries: {"half": int(tries[-1]["printed"].split()[-1])}
    )
    with recording() as log:
        output, requests = asked(thinking("n: int -> half: int"), rule, n=8)
    assert (output.half, requests) == (4, 2)
    assert [call.module for call in log.records] == ["write", "answer"]


def test_a_value_that_does_not_fit_the_output_is_turned_into_it_by_one_more_call() -> None:
    program = thinking("n: int -> size: Literal['small', 'large']")
    rule = model(lambda _: "n * n", lambda tries: {"size": "large" if tries[-1]["value"] > 50 else "small"})
    assert [asked(program, rule, n=n)[0].size for n in (7, 8)] == ["small", "large"]


def test_code_that_never_runs_is_an_error_that_keeps_the_last_code() -> None:
    program = thinking("n: int -> half: int", max_tries=dspex.Int(1, 5, default=2))
    for tries in (2, 4):
        with (
            ModelServer(answer=model(lambda _: "1 / 0")) as server,
            trajectories() as heard,
        ):
            with pytest.raises(OutputError, match=f"no code ran in {tries} tries.*ZeroDivisionError") as caught:
                ran(program.with_values({"max_tries": tries}), server, n=1)
            assert server.counters()["requests"] == tries
        assert caught.value.raw == "1 / 0"
        assert (len(heard[0].turns), heard[0].ended) == (tries, "bound")


def test_a_fence_around_the_code_is_no_part_of_it() -> None:
    assert asked(thinking("n: int -> half: int"), model(lambda _: "```python\nn // 2\n```\n"), n=8)[0].half == 4


def test_code_calls_tools_and_the_model_is_told_of_them() -> None:
    program = thinking("amount: float -> euros: float", tools=[rate])
    assert '- rate: Return the price of a currency in euros. Arguments: {"properties"' in program.write.instruction
    assert asked(program, model(lambda _: "amount * rate('gbp')"), amount=3)[0].euros == 6.0


def test_what_a_tool_lets_pass_ends_the_call() -> None:
    def closed() -> str:
        raise ConfigurationError("no key")

    with pytest.raises(ConfigurationError, match="no key"):
        asked(thinking("n: int -> m: int", tools=[closed]), model(lambda _: "closed()"), n=1)


class Convert(ProgramOfThought):
    """Convert the amount."""

    class Input(Schema):
        amount: float
        key: Secret = dspex.field(cast("Any", "env:DSPEX_TEST_NO_SUCH_KEY"))

    class Output(Schema):
        euros: float

    tools = (rate,)
    limits = CodeLimits(time_s=1)
    temperature = dspex.Float(0, 1, default=0.5)


def test_a_class_declares_it_and_its_secrets_are_no_variables_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPEX_TEST_NO_SUCH_KEY", "sesame-4711")
    assert set(Convert.space().names) == {"write.demos", "answer.demos", "write.temperature", "answer.temperature"}
    assert Convert().write.instruction.startswith("Convert the amount.\n\nWrite Python code that computes euros.")
    assert "key" not in Convert().write.instruction.partition("Arguments")[0].partition("Write")[2]
    seen = []

    def write(tries: Tries) -> str:
        seen.append(tries)
        return "key" if not tries else "amount * rate('usd')"

    assert asked(Convert(), model(write), amount=4)[0].euros == 2.0
    assert "NameError: name 'key' is not defined" in seen[1][0]["error"]
    assert "sesame" not in repr(seen)


def test_an_instruction_that_is_a_variable_leaves_the_rules_told() -> None:
    program = thinking("n: int -> half: int", instruction=dspex.Text("Halve it."))
    systems = []

    def rule(messages: Any, _: Any) -> str:
        systems.append(messages[0]["content"])
        return json.dumps({"plan": "p", "code": "n // 2"})

    asked(program, rule, n=2)
    assert {"write.instruction", "answer.instruction"} <= set(program.space().names)
    assert systems[0].startswith("Halve it.\n")
    assert "Write Python code that computes half." in systems[0]


class Reverser:
    """A runner of one's own: its language is words, and it says them backwards."""

    async def run(
        self, code: str, inputs: Mapping[str, Any], *, tools: Sequence[Tool] = (), limits: CodeLimits | None = None
    ) -> Ran:
        return Ran(value=" ".join(reversed(code.split())) + f" {inputs['n']}")

    def told(self) -> str:
        return "Words are said backwards."


def test_a_runner_of_ones_own_takes_the_place_of_monty() -> None:
    program = thinking("n: int -> text: str", runner=Reverser())
    assert "Words are said backwards." in program.write.instruction
    assert asked(program, model(lambda _: "one two"), n=3)[0].text == "two one 3"


def test_a_saved_module_has_its_runner_limits_and_tools_again() -> None:
    for runner in (MontyRunner, Reverser):
        program = thinking("n: int -> text: str", runner=runner, tools=[rate], limits=CodeLimits(time_s=2), max_tries=2)
        again: Any = program_from_state(json.loads(json.dumps(program.state())))
        assert again.path == program.path
        assert type(again.runner) is runner
        assert (again.limits, again.max_tries, again.tools[0].function) == (CodeLimits(time_s=2), 2, rate)


def test_a_runner_that_json_cannot_name_cannot_be_saved() -> None:
    with pytest.raises(ProgramError, match=r"runner: .* cannot be saved"):
        thinking("n: int -> text: str", runner=Reverser()).state()


def test_a_module_travels_between_processes() -> None:
    for program in (thinking("amount: float -> euros: float", tools=[rate]), Convert()):
        again = cloudpickle.loads(cloudpickle.dumps(program))
        assert asked(again, model(lambda _: "amount * rate('usd')"), amount=4)[0].euros == 2.0


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'dspex-ray\[code\]'"):
        asked(thinking("n: int -> half: int"), model(lambda _: "n"), n=1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_tries": 0}, "max_tries is a whole number from 1 on"),
        ({"runner": 3}, "runner is a CodeRunner, got 3"),
        ({"limits": 3}, r"limits are CodeLimits\(...\), got 3"),
        ({"limits": {"times": 3}}, "limits: .*times"),
        ({"tools": [lambda x: x]}, "write it as `def name"),
        ({"tools": [tool(name="sum")(rate)]}, "A tool cannot be called 'sum' here"),
        ({"tools": [tool(name="question")(rate)]}, "A tool cannot be called 'question' here"),
        ({"tools": [tool(name="get-rate")(rate)]}, "Code cannot call a tool named 'get-rate'"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        thinking("question -> answer", **settings)


def test_a_field_that_the_module_has_itself_is_refused() -> None:
    with pytest.raises(ProgramError, match="has a 'attempts' of its own; rename the field"):
        thinking("attempts -> answer")
