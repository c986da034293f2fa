"""Programs made of programs: variables by path, values and models that follow from the whole."""

from __future__ import annotations

from typing import Any

import pytest

from dspex_coordination.conditions import V
from dspex_coordination.space import Constraint
from dspex_coordination.variables import Bool, Choice, Composite, Demos, Float, Int
from dspex_ray.calls import recording
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ProgramError
from dspex_ray.example import make_example
from dspex_ray.modules import ChainOfThought, Predict
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.schema import Schema

GOOD = '{"answer": "yes"}'


class Leaf(Program):
    """Answer."""

    class Input(Schema):
        question: str

    class Output(Schema):
        answer: str

    temperature = Float(0.0, 1.0, default=0.5)
    demos = Demos(max=4)


class Branch(Program):
    """Answer through a leaf."""

    class Input(Schema):
        question: str

    class Output(Schema):
        answer: str

    leaf = Leaf()
    style = Choice(["short", "long"])

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        return self.Output(answer=(await self.leaf(question=input.question)).answer)


class Tree(Program):
    """Answer through branches."""

    class Input(Schema):
        question: str

    class Output(Schema):
        answer: str

    first = Branch()
    others = (Leaf(), Leaf().with_values({"temperature": 0.9}))
    named = {"kind": Leaf()}  # noqa: RUF012 - a declaration, read once

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        found = [
            await self.first(question=input.question),
            *[await one(question=input.question) for one in self.others],
            await self.named["kind"](question=input.question),
        ]
        return self.Output(answer=" ".join(one.answer for one in found))


def test_the_space_holds_the_variables_of_every_part_by_path() -> None:
    assert set(Tree.space().names) == {
        "first.style",
        "first.leaf.temperature",
        "first.leaf.demos",
        "others.0.temperature",
        "others.0.demos",
        "others.1.temperature",
        "others.1.demos",
        "named.kind.temperature",
        "named.kind.demos",
    }


def test_a_value_of_the_whole_reaches_the_part_it_names_and_no_other() -> None:
    tree = Tree().with_values({"first.leaf.temperature": 0.1, "named.kind.temperature": 0.3})
    assert tree.first.leaf.temperature == 0.1
    assert tree.named["kind"].temperature == 0.3
    assert [one.temperature for one in tree.others] == [0.5, 0.9]
    assert Tree().first.leaf.temperature == 0.5


def test_a_part_keeps_the_values_it_was_declared_with() -> None:
    assert Tree().values["others.1.temperature"] == 0.9


def test_parts_are_found_by_path_and_know_their_place() -> None:
    parts = Tree().parts
    assert list(parts) == ["first", "first.leaf", "others.0", "others.1", "named.kind"]
    assert {path: part.place for path, part in parts.items()} == {path: path for path in parts}
    assert Tree().place == ""


def test_calls_of_parts_are_recorded_under_the_whole_with_their_place(scripted: Any) -> None:
    tree = Tree().with_lm(scripted(GOOD))
    with recording() as log:
        assert tree.run(question="is it?").answer == "yes yes yes yes"
    assert {record.program for record in log.records} == {tree.path}
    assert [record.module for record in log.records] == ["first.leaf", "others.0", "others.1", "named.kind"]


def test_a_part_uses_the_model_of_the_whole_unless_it_has_its_own(scripted: Any) -> None:
    own, whole = scripted(GOOD), scripted(GOOD)

    class Two(Branch):
        other = Leaf().with_lm(own)

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            await self.other(question=input.question)
            return await super().predict(input)

    Two().with_lm(whole).run(question="hi")
    assert (len(own.requests), len(whole.requests)) == (1, 1)


def test_a_variable_called_model_names_the_model_that_is_asked() -> None:
    class Chosen(Leaf):
        model = Choice(["embedded/nearest", "nosuch/model"])

    assert Chosen().lm_name == "embedded/nearest"
    assert Chosen().run(question="hi").answer == "hi"
    with pytest.raises(ProgramError, match="says by `model` which model it asks"):
        Chosen().with_lm("embedded/nearest")


def test_conditions_and_computed_values_of_a_part_hold_under_its_path() -> None:
    class Linked(Leaf):
        tools = Bool()
        steps = Int(1, 9, default=3, when=V("tools") == True)  # noqa: E712 - a condition as data
        budget = Composite(V("steps") * 10)
        constraints = [V("temperature") <= 0.8]  # noqa: RUF012 - a declaration, read once

    class Whole(Branch):
        part = Linked()

    whole = Whole().with_values({"part.tools": True, "part.steps": 5})
    assert whole.part.budget == 50
    assert whole.part.values == {**Linked().with_values({"tools": True, "steps": 5}).values}
    with pytest.raises(ProgramError, match=r"part\.temperature"):
        whole.with_values({"part.temperature": 0.9})


def anything(_values: Any) -> bool:
    return True


def test_a_part_with_a_function_as_constraint_is_refused_by_name() -> None:
    class Ruled(Leaf):
        constraints = [Constraint(anything)]  # noqa: RUF012 - a declaration, read once

    with pytest.raises(ProgramError, match=r"Whole\.part: The constraint .*anything is a function"):

        class Whole(Branch):
            part = Ruled()


def test_a_list_with_something_else_in_it_is_refused() -> None:
    with pytest.raises(ProgramError, match="holds programs and something else, 3"):

        class Mixed(Branch):
            several = [Leaf(), 3]  # noqa: RUF012 - a declaration, read once


def test_a_part_assigned_to_an_instance_is_refused() -> None:
    class Late(Branch):
        def __init__(self) -> None:
            self.late = Leaf()

    with pytest.raises(ProgramError, match="declared in the class body"):
        Late()


def test_circular_sub_programs_are_refused_by_the_way_they_go() -> None:
    class Inner(Leaf):
        pass

    class Outer(Branch):
        inner = Inner()

    Inner.back = Outer()  # the mistake
    with pytest.raises(ProgramError, match="Circular sub-programs: Inner -> Outer -> Inner"):
        Inner()


def test_programs_that_call_each_other_for_ever_are_stopped() -> None:
    class Endless(Leaf):
        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            return await Endless()(question=input.question)

    with pytest.raises(ProgramError, match="Programs call each other 50 deep, the last ones Endless -> Endless"):
        Endless().run(question="hi")


def test_a_part_has_demonstrations_of_its_own_that_are_saved_with_the_whole(scripted: Any) -> None:
    pool = DemoPool([make_example({"question": "a?"}, {"answer": "b"}, None)])
    fixed = {"first.leaf.demos": {"select": "fixed", "ids": list(pool.ids)}}
    tree = Tree().with_demo_pool(pool, "first.leaf").with_values(fixed)
    lm = scripted(GOOD)
    for one in (tree, Tree.from_state(tree.state()), Parcel.of(tree).open()):
        one.with_lm(lm).run(question="hi")
        assert [message.content for message in lm.requests[-4].messages[1:3]] == ["a?", '{"answer": "b"}']
    with pytest.raises(ProgramError, match=r"has no part 'first\.leef'.*did you mean 'first\.leaf'"):
        tree.with_demo_pool(pool, "first.leef")


def test_a_part_with_the_fields_of_the_whole_takes_the_demonstrations_of_the_whole() -> None:
    pool = DemoPool([make_example({"question": "a?"}, {"answer": "b"}, None)])
    assert len(Branch().with_demo_pool(pool).leaf.demo_pool) == 1


def test_made_parts_are_parts_too_and_the_whole_is_saved_with_them(scripted: Any) -> None:
    class Asked(Branch):
        draft = ChainOfThought("question -> answer", temperature=Float(0, 1, default=0.2))
        final = Predict("question, draft -> answer", max_tokens=9)

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            drafted = await self.draft(question=input.question)
            return self.Output(answer=(await self.final(question=input.question, draft=drafted.answer)).answer)

    lm = scripted('{"reasoning": "so", "answer": "x"}', GOOD)
    asked = Asked().with_values({"draft.temperature": 0.7}).with_lm(lm)
    assert asked.run(question="hi").answer == "yes"
    assert [one.temperature for one in lm.requests] == [0.7, None]
    assert [one.max_tokens for one in lm.requests] == [None, 9]
    assert Asked.from_state(Asked().with_values({"draft.temperature": 0.7}).state()).draft.temperature == 0.7


def test_a_module_made_of_a_signature_comes_back_from_its_state() -> None:
    made = ChainOfThought("question -> answer: float", temperature=Float(0, 1), instruction="Compute.")
    again = program_from_state(made.with_values({"temperature": 0.25}).state())
    assert again.path == made.path == "ChainOfThought(question -> answer: float)"
    assert (again.temperature, again.instruction) == (0.25, "Compute.")
    assert again.Output.model_json_schema() == made.Output.model_json_schema()


def test_what_a_part_is_told_can_be_replaced_and_is_saved(scripted: Any) -> None:
    tree = Tree().with_instructions({"first.leaf": "Say yes.", "others.1": "Say no."})
    lm = scripted(GOOD)
    for one in (tree, Tree.from_state(tree.state()), Parcel.of(tree).open(), tree.with_values({"first.style": "long"})):
        one.with_lm(lm).run(question="hi")
        told = [request.messages[0].content.partition("\n")[0] for request in lm.requests[-4:]]
        assert told == ["Say yes.", "Answer.", "Say no.", "Answer."]
    assert Tree().first.leaf.instruction == "Answer."


def test_the_instruction_of_a_model_call_is_a_value_like_any_other_in_a_search() -> None:
    tree = Tree().with_values({"first.leaf.instruction": "Say yes.", "first.leaf.temperature": 0.2})
    assert (tree.first.leaf.instruction, tree.first.leaf.temperature) == ("Say yes.", 0.2)
    with pytest.raises(ProgramError, match=r"first\.instruction"):
        tree.with_values({"first.instruction": "it asks no model itself"})
    with pytest.raises(ProgramError, match=r"no instruction 'first\.instruction' that can be replaced"):
        tree.with_instructions({"first": "x"})
    with pytest.raises(ProgramError, match=r"others\.0\.instruction is a text, got 3"):
        tree.with_instructions({"others.0": 3})  # type: ignore[dict-item] # the mistake
