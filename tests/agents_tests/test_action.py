"""Actions: checked input and output, timeouts that tell what was going on, undoing, chains."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from dspex_agents import (
    Action,
    ActionError,
    ActionFailedError,
    ActionInputError,
    ActionOutputError,
    ActionTimeoutError,
    AgentExit,
    ChainFailedError,
    Instruction,
    SpecError,
    run_action,
    run_chain,
    to_instructions,
    tool_definition,
)


class Item(BaseModel):
    price: float = Field(gt=0)


class Bill(BaseModel):
    customer: str = Field(description="Who pays.")
    items: list[Item] = Field(min_length=1)
    currency: Literal["EUR", "USD"] = "EUR"
    api_key: str = ""


class Receipt(BaseModel):
    total: float


class Charge(Action[Bill, Receipt]):
    """Charge a customer
    for items."""

    def __init__(self, mood: str = "well") -> None:
        self.mood, self.undone = mood, []

    async def run(self, params: Bill, context: Mapping[str, Any]) -> Receipt | Mapping[str, Any]:
        match self.mood:
            case "fails":
                raise ConnectionError("the bank is closed")
            case "hangs":
                await asyncio.Event().wait()
            case "stubborn":
                while not context["release"].is_set():
                    try:
                        await context["release"].wait()
                    except asyncio.CancelledError:
                        continue
            case "bad":
                return {"total": "much"}
            case "ends":
                raise AgentExit("done here")
            case "cancels":
                raise asyncio.CancelledError
        return {"total": sum(item.price for item in params.items)}


class Refundable(Charge):
    async def compensate(self, params: Bill, context: Mapping[str, Any], error: Exception) -> str:
        self.undone.append((params.customer, type(error).__name__))
        if context.get("bank") == "gone":
            raise OSError("no bank")
        return "refunded"


BILL = {"customer": "Ada", "items": [{"price": 2}, {"price": 3.5}], "api_key": "sk-secret"}


def run(action: Action[Any, Any], params: Any = BILL, **options: Any) -> Any:
    return asyncio.run(run_action(action, params, **options))


def test_an_action_takes_its_models_from_its_bases_and_its_description_from_its_docstring() -> None:
    assert (Charge.Input, Charge.Output, Charge.name) == (Bill, Receipt, "Charge")
    assert Charge.description == "Charge a customer for items."


def test_a_mapping_comes_back_as_the_output_model() -> None:
    assert run(Charge()) == Receipt(total=5.5)
    assert run(Charge(), Bill(**BILL)) == Receipt(total=5.5)


def test_every_bad_parameter_is_told_with_its_path_and_none_of_the_values() -> None:
    bad = {"items": [{"price": 1}, {"price": -77}], "currency": "sk-secret"}
    with pytest.raises(ActionInputError) as caught:
        run(Refundable(), bad)
    assert [p.path for p in caught.value.problems] == ["customer", "items.1.price", "currency"]
    text = f"{caught.value!s}{caught.value!r}{caught.value.__cause__}{caught.value.__context__}"
    assert "3 bad parameters: customer: Field required; items.1.price:" in text
    assert "sk-secret" not in text
    assert "77" not in text


def test_a_bad_output_is_told_and_undone() -> None:
    action = Refundable("bad")
    with pytest.raises(ActionOutputError, match=r"1 bad output field: total: .* Compensation: undone") as caught:
        run(action)
    assert caught.value.compensation.result == "refunded"
    assert action.undone == [("Ada", "ActionOutputError")]


def test_a_failure_carries_what_was_raised_and_an_action_without_compensation_is_not_undone() -> None:
    with pytest.raises(ActionFailedError, match="ConnectionError: the bank is closed") as caught:
        run(Charge("fails"))
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert caught.value.compensation.state == "none"


def test_a_failing_compensation_is_reported_beside_the_failure() -> None:
    with pytest.raises(ActionFailedError, match=r"bank is closed.*undoing it failed: OSError: no bank") as caught:
        run(Refundable("fails"), context={"bank": "gone"})
    assert caught.value.compensation.state == "failed"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.compensation) == (str(caught.value), caught.value.compensation)


def test_a_timeout_tells_action_time_and_fields_but_no_values_and_is_undone() -> None:
    action = Refundable("hangs")
    with pytest.raises(ActionTimeoutError) as caught:
        run(action, timeout_s=0.01)
    error = caught.value
    assert error.fields == ("customer", "items", "currency", "api_key")
    assert error.elapsed_s >= 0.009
    assert (error.timeout_s, error.ended, error.compensation.state) == (0.01, True, "done")
    assert "'Refundable' was not done within 0.01 s" in str(error)
    assert "api_key" in str(error)
    assert "sk-secret" not in str(error)
    assert pickle.loads(pickle.dumps(error)).fields == error.fields


def test_an_action_that_ignores_its_cancellation_is_told_to_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dspex_agents.actions.action._LAST_WORDS_S", 0.01)

    async def attempt() -> ActionTimeoutError:
        release = asyncio.Event()
        with pytest.raises(ActionTimeoutError, match="may still run") as caught:
            await run_action(Charge("stubborn"), BILL, context={"release": release}, timeout_s=0.01)
        release.set()
        return caught.value

    assert asyncio.run(attempt()).ended is False


def test_an_action_that_cancels_itself_has_failed() -> None:
    with pytest.raises(ActionFailedError, match="CancelledError"):
        run(Charge("cancels"))


def test_the_end_of_the_agent_around_it_is_not_swallowed() -> None:
    with pytest.raises(AgentExit):
        run(Charge("ends"))


def test_cancelling_the_caller_cancels_the_action() -> None:
    async def attempt() -> bool:
        started, cancelled = asyncio.Event(), asyncio.Event()

        class Waits(Action[Bill, Receipt]):
            async def run(self, params: Bill, context: Mapping[str, Any]) -> Receipt:
                started.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
                return Receipt(total=0)

        caller = asyncio.create_task(run_action(Waits(), BILL))
        await started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.wait_for(cancelled.wait(), 5)
        return True

    assert asyncio.run(attempt())


def test_an_action_is_a_tool_that_a_language_model_may_call() -> None:
    tool = tool_definition(Charge())
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "Charge"
    assert tool["function"]["description"] == "Charge a customer for items."
    parameters = tool["function"]["parameters"]
    assert parameters["required"] == ["customer", "items"]
    assert parameters["properties"]["customer"]["description"] == "Who pays."
    assert parameters["properties"]["currency"]["enum"] == ["EUR", "USD"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "two words"}, "name must be"),
        ({"timeout_s": 0}, "timeout_s must be above 0"),
        ({"Input": dict}, "Input must be a pydantic model"),
        ({"Output": None}, "Output must be a pydantic model"),
    ],
)
def test_a_class_that_cannot_work_is_refused_when_it_is_made(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        type("Bad", (Charge,), fields)


class Total(BaseModel):
    total: float
    factor: float = 1.0


class Tax(Action[Total, Total]):
    """Multiply a total."""

    async def run(self, params: Total, context: Mapping[str, Any]) -> Total:
        if params.factor < 0:
            raise ValueError("no such tax")
        return Total(total=params.total * params.factor, factor=params.factor)


def test_a_chain_hands_outputs_on_and_a_steps_own_parameters_come_first() -> None:
    steps = [Charge(), (Tax(), {"factor": 2.0}), Instruction(Tax(), {"factor": 10.0}), Tax()]
    outputs = asyncio.run(run_chain(steps, BILL))
    assert [output.total for output in outputs] == [5.5, 11.0, 110.0, 1100.0]


def test_a_failed_chain_undoes_the_steps_before_it_last_first_and_tells_all() -> None:
    first, second = Refundable(), Refundable()
    steps = [first, Instruction(second, context={"bank": "gone"}), Tax(), Instruction(Tax(), {"factor": -1})]
    with pytest.raises(ChainFailedError, match=r"Step 4 of the chain: .*no such tax") as caught:
        asyncio.run(run_chain(steps, BILL))
    assert isinstance(caught.value, ActionError)
    told = [(c.position, c.compensation.state) for c in caught.value.compensations]
    assert told == [(2, "none"), (1, "failed"), (0, "done")]
    assert first.undone == second.undone == [("Ada", "ActionFailedError")]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_instructions_come_in_three_forms_and_others_are_refused() -> None:
    action = Charge()
    forms = to_instructions([action, (action, BILL), Instruction(action)])
    assert [form.params for form in forms] == [{}, BILL, {}]
    with pytest.raises(SpecError, match="got 'Charge'"):
        to_instructions(["Charge"])
    with pytest.raises(SpecError, match=r"not allowed here: Charge\. Allowed: Tax"):
        to_instructions([action], allowed=[Tax])
    with pytest.raises(SpecError, match="must be an Action"):
        Instruction(Charge)
    with pytest.raises(SpecError, match="params must map"):
        Instruction(action, [1])
    with pytest.raises(SpecError, match="timeout_s"):
        Instruction(action, timeout_s=0)
