"""For type checkers alone: each line that ends in `# wrong` must be an error in an editor, and no other line."""

from __future__ import annotations

from typing import Literal, assert_type

import dspex_ray as dspex


class Route(dspex.Program):
    """Route a message."""

    class Input(dspex.Schema):
        message: str
        urgent: bool = False

    class Output(dspex.Schema):
        intent: Literal["card", "loan"]
        confidence: dspex.Probability = 1.0

    temperature = dspex.Float(0.0, 1.5, default=0.2)
    demos = dspex.Demos(max=4)


class Reasoned(dspex.ChainOfThought):
    """Answer a question."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        reasoning: str
        answer: int


class Desk(dspex.Program):
    """Route, then answer."""

    class Input(dspex.Schema):
        message: str

    class Output(dspex.Schema):
        text: str

    route = Route()
    answer = Reasoned()

    async def predict(self, input: Input) -> Output:  # noqa: A002 - the name a program's author reads best
        routed = await self.route(Route.Input(message=input.message))
        assert_type(routed, Route.Output)
        answered = await self.answer(question=input.message)
        assert_type(answered.answer, int)
        input.mesage  # wrong
        self.answr  # wrong
        return self.Output(txt=routed.intent)  # wrong


async def use() -> None:
    route = Route()
    assert_type(route.temperature, float)
    output = await route(Route.Input(message="Where is my card?"))
    assert_type(output, Route.Output)
    assert_type(output.intent, Literal["card", "loan"])
    output.intnt  # wrong
    output.intent = "card"  # wrong
    Route.Input(mesage="hi")  # wrong
    Route.Input(message=3)  # wrong
    Route.Input()  # wrong
    Route.Output(intent="lone")  # wrong
    await route(Reasoned.Input(question="hi"))  # wrong
    assert_type(await route.acall({"message": "hi"}), Route.Output)
    assert_type(route.run(message="hi"), Route.Output)
    route.temprature  # wrong
    dspex.Float("0", 1)  # wrong
    dspex.optimize(route, [], trails=3)  # wrong
    async for piece in route.astream(message="hi"):
        assert_type(piece.output, Route.Output | None)
        piece.ouput  # wrong
    for told in route.stream(Route.Input(message="hi")):
        assert_type(told, dspex.StreamPiece[Route.Output])
    route.stream(Reasoned.Input(question="hi"))  # wrong
    made = dspex.ChainOfThought("question -> answer: float")
    assert (await made(question="hi")).answer
