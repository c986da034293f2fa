"""The `text` form of answers, and what a program says of its form."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from dspex_coordination.variables import Choice, Demos
from dspex_ray.demos import DemoPool
from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.example import make_example
from dspex_ray.programs.program import Program
from dspex_ray.prompting.answer_formats.names import ANSWER_FORMATS
from dspex_ray.schema import Schema, field

TEXT = ANSWER_FORMATS["text"]


class Solved(Schema):
    reasoning: str
    answer: float
    unit: Literal["m", "km"] = "m"
    tags: list[str] = field(default_factory=list)
    final_note: str | None = None


MEANT = Solved(reasoning="Half of 8.", answer=4.0)


@pytest.mark.parametrize(
    "text",
    [
        "## reasoning\nHalf of 8.\n## answer\n4\n## end",
        "## answer\n4.0\n\n## reasoning\n\nHalf of 8.\n",
        "Sure, here it is:\n\n## Reasoning\nHalf of 8.\n## Answer\n**4**\n## end\nHope that helps!",
        "**Reasoning:** Half of 8.\n**Answer:** 4",
        "**reasoning**\nHalf of 8.\n**answer**: `4`",
        "**Reasoning: Half of 8.**\n**Answer: 4**",
        "[[ ## reasoning ## ]]\nHalf of 8.\n[[ ## answer ## ]]\n4\n",
        "# Reasoning\nHalf of 8.\n# Answer\n4",
        "reasoning: Half of 8.\nanswer: 4",
        "```\n## reasoning\nHalf of 8.\n## answer\n4\n```",
        '## reasoning\n"Half of 8."\n## answer\n```json\n4\n```',
        "## reasoning\nHalf of 8.\n## answer\n4\n## final note\nnull\n## unit\nM.\n## tags\n[]",
        "## reasoning\nHalf of 8.\n## answer\n4\n## answer\n4",
        '{"reasoning": "Half of 8.", "answer": 4}',
        '{\n  reasoning: "Half of 8.",\n  answer: 4,\n}',
        "```\n{\nreasoning: 'Half of 8.',\nanswer: 4\n}\n```",
        "<think>\n## answer\n5?\n</think>\n\n## reasoning\nHalf of 8.\n## answer\n4\n## end",
    ],
)
def test_sections_are_found_however_they_are_headed(text: str) -> None:
    made = TEXT.read(text, Solved)
    assert made == MEANT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("## reasoning\nx\n## answer\n4\n## answer\n5", "answer has 2 sections, '4' and '5'"),
        ("## reasoning\nx\n## end\n## answer\n4\n## end\n## answer\n5", "answer has 2 sections"),
        ("## reasoning\nx", "answer: required, but missing"),
        ("## reasoning\n\n## answer\n4", "reasoning: required, but missing"),
        ("## reasoning\nx\n## answer\nabout 4", "answer: "),
        ("## reasoning\nx\n## answer\n4\n\nHope that helps!", "answer: "),
        ("## reasoning\nx\n## answer\n4\n## unit\nmiles", "unit: 'miles' is not one of"),
        ("I do not know.", "no JSON object"),
        ("", "no JSON object"),
        ("## reasoning\nx\n```\n## answer\n4", "answer: required, but missing"),
    ],
)
def test_what_could_mean_two_things_or_lacks_one_is_refused(text: str, told: str) -> None:
    with pytest.raises(OutputError) as caught:
        TEXT.read(text, Solved)
    assert told in str(caught.value)
    assert caught.value.raw == text


def test_a_comment_in_code_is_no_heading() -> None:
    code = "```python\n# answer\n## answer\nprint(4)\n```"
    assert TEXT.read(f"## reasoning\n{code}\n## answer\n4\n## end", Solved).reasoning == code


def test_bold_words_within_a_text_are_no_headings_where_the_asked_ones_suffice() -> None:
    every = "## answer\n4\n## unit\nm\n## tags\n[]\n## final_note\nnull\n## end"
    made = TEXT.read(f"## reasoning\nFirst\n**answer:** is it 5?\n{every}", Solved)
    assert made.reasoning == "First\n**answer:** is it 5?"
    assert made.answer == 4


@pytest.mark.parametrize(
    "note", ["null", "None", "4", '"quoted"', " spaced ", "a\n## answer\n5", "**unit**: km", "```"]
)
def test_a_text_that_could_be_misread_is_spelt_as_json(note: str) -> None:
    values = {"reasoning": note, "answer": 4.0, "final_note": note}
    assert TEXT.read(TEXT.answer(Solved, values), Solved) == Solved(reasoning=note, answer=4.0, final_note=note)


def test_a_field_called_end_does_not_end_the_answer() -> None:
    class Span(Schema):
        start: int
        end: int

    text = TEXT.answer(Span, {"start": 1, "end": 2})
    assert text.splitlines()[-1] == "## end of the answer"
    assert TEXT.read(text, Span) == Span(start=1, end=2)


class Sum(Program):
    """Solve it."""

    class Input(Schema):
        question: str

    class Output(Schema):
        reasoning: str
        answer: int

    answer_format = Choice(["json", "text"])
    demos = Demos(max=4)
    unlabelled = frozenset({"reasoning"})


def test_the_form_is_a_variable_and_reaches_instruction_demonstrations_and_reader(scripted: Any) -> None:
    pool = DemoPool([make_example({"question": "1+1"}, {"answer": 2})])
    shown = {"demos": {"select": "fixed", "ids": list(pool.ids)}}
    lm = scripted("## reasoning\nEasy.\n## answer\n5\n## end")
    program = Sum().with_lm(lm).with_demo_pool(pool).with_values({"answer_format": "text", **shown})
    assert program.run(question="2+3") == Sum.Output(reasoning="Easy.", answer=5)
    request = lm.requests[0]
    assert request.response_schema is None
    assert "## reasoning\n<text>\n## answer\n<whole number>\n## end" in request.messages[0].content
    assert request.messages[2].content == "## answer\n2\n## end"

    lm = scripted('{"reasoning": "Easy.", "answer": 5}')
    assert program.with_lm(lm).with_values({"answer_format": "json"}).run(question="2+3").answer == 5
    assert lm.requests[0].messages[2].content == '{"answer": 2}'
    assert lm.requests[0].response_schema is not None


def test_asking_again_asks_in_the_same_form(scripted: Any) -> None:
    lm = scripted("## answer\nfive", "## reasoning\nEasy.\n## answer\n5\n## end")
    assert Sum().with_lm(lm).with_values({"answer_format": "text"}).run(question="2+3").answer == 5
    complaint = lm.requests[1].messages[-1].content
    assert "reasoning: required, but missing" in complaint
    assert "answer: " in complaint
    assert complaint.endswith(TEXT.again)


def test_an_unknown_form_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProgramError, match="answer_format is one of 'json', 'text', got 'xml'"):

        class Odd(Sum):
            answer_format = "xml"


def test_a_demonstration_may_lack_only_what_the_program_says_data_lacks(scripted: Any) -> None:
    pool = DemoPool([make_example({"question": "1+1"}, {"reasoning": "So."})])
    program = Sum().with_lm(scripted("x")).with_demo_pool(pool)
    with pytest.raises(ProgramError, match=r"demonstration .* breaks the schema: answer: required"):
        program.with_values({"demos": {"select": "fixed", "ids": list(pool.ids)}}).run(question="q")


def test_an_unlabelled_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(ProgramError, match="'reasonning' is no field of Output \\(did you mean 'reasoning'"):

        class Misspelt(Sum):
            unlabelled = frozenset({"reasonning"})
