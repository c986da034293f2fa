"""A program whose prompt, temperature, model and way of reasoning are searched; and the same with a part of it fixed.

The three models cost what the simulated world says, and a bound on the cost of a question keeps the dear ones to short
prompts: what is best for one of these variables depends on the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import dspex_ray as dspex
from dspex_ray.lm.base import LM
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from optimizers_bench.model import SIZES

TASK = "arithmetic"
HOT = 1.0
"""What a provider takes for the temperature where nothing is said."""
MOST_USD = 200e-6
"""Of a question: the small model with any prompt, the middle one with reasoning, demonstrations and a short text."""
MODELS: dict[str, LM] = {}
"""By size; a side connects them."""


def connect(url: str, at_once: int) -> None:
    """Reach the models at this address from now on."""
    limits = dspex.LMLimits(concurrency=at_once)
    for name, size in SIZES.items():
        paid = Price(size.usd_in * 1e-6, size.usd_out * 1e-6, size.usd_in * 1e-6)
        MODELS[name] = OpenAICompatibleLM(
            f"openai/{name}", wire_model=name, base_url=url, api_key="unused", price=paid, limits=limits
        )


async def disconnect() -> None:
    """Close the connections of this event loop."""
    for model in MODELS.values():
        await model.aclose()


class Answer(dspex.Program):
    """Work out the total of the order."""

    class Input(dspex.Schema):
        order: str

    class Output(dspex.Schema):
        total: float

    demos = dspex.Demos(max=4)
    temperature: Any = dspex.Float(0.0, 1.5, default=HOT)


class AnswerHot(Answer):
    """Work out the total of the order."""

    temperature = HOT


class Reasoned(dspex.ChainOfThought):
    """Work out the total of the order."""

    class Input(Answer.Input):
        pass

    class Output(Answer.Output):
        pass

    demos = dspex.Demos(max=4)
    temperature = dspex.Float(0.0, 1.5, default=HOT)


_READY = WeakKeyDictionary[dspex.Program, dspex.Program]()
"""What each program asks: made at its first question."""


class Asking(dspex.Program):
    """A program that has a prompt, a way of reasoning and the size of a model."""

    class Input(Answer.Input):
        pass

    class Output(Answer.Output):
        pass

    style: Any
    size: Any

    def prompt(self) -> Any:
        """Return the program whose prompt is asked, at the temperature that it is asked with."""
        raise NotImplementedError

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        ready = _READY.get(self)
        if ready is None:
            ready = _READY[self] = asked(self.prompt(), str(self.style), str(self.size))
        answer: Any = await ready.acall({"order": input.order})
        return self.Output(total=answer.total)

    async def aclose(self) -> None:
        await super().aclose()
        await disconnect()


def asked(answer: Any, style: str, size: str) -> dspex.Program:
    """Return what asks the model of this size with the prompt of `answer`, directly or after reasoning."""
    demos = answer.values["demos"]
    if style == "direct":
        shown = answer.with_values({"demos": _bare(demos)}) if demos["select"] == "given" else answer
    else:
        shown = Reasoned().with_demo_pool(answer.demo_pool)
        shown = shown.with_values({"demos": demos, "temperature": answer.temperature})
        shown = shown.with_instructions({"": str(answer.instruction)})
        shown.place = answer.place  # its steps are those of `answer`
    made: dspex.Program = shown.with_lm(MODELS[size])
    return made


def _bare(demos: Any) -> dict[str, Any]:
    """Return demonstrations that the program made, without what it reasoned."""
    return {**demos, "demos": [{**one, "output": {"total": one["output"]["total"]}} for one in demos["demos"]]}


class Order(Asking):
    """Work out the total of the order."""

    answer: Any = Answer()
    style = dspex.Choice(["direct", "reasoned"])
    size = dspex.Choice(list(SIZES))

    def prompt(self) -> Any:
        return self.answer


class OrderPrompt(Order):
    """Work out the total of the order."""

    answer = AnswerHot()
    style = "direct"
    size = "small"


@dataclass
class Held:
    """The prompt that the first half of a search has found."""

    answer: Any = None

    def keep(self, found: Any) -> None:
        """Take the prompt of a program, for any temperature."""
        held = Answer().with_demo_pool(found.demo_pool).with_instructions({"": str(found.instruction)})
        self.answer = held.with_values({"demos": found.values["demos"]})


HELD = Held()


class OrderNumbers(Asking):
    """Work out the total of the order."""

    temperature = dspex.Float(0.0, 1.5, default=HOT)
    style = dspex.Choice(["direct", "reasoned"])
    size = dspex.Choice(list(SIZES))

    def prompt(self) -> Any:
        return HELD.answer.with_values({"temperature": self.temperature})
