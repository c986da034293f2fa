"""Data without a program's `unlabelled` fields, and data that holds a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspex_ray.data.loading import load_data
from dspex_ray.errors import DataError
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema, Secret


class Thoughtful(Program):
    """Answer."""

    class Input(Schema):
        question: str

    class Output(Schema):
        reasoning: str
        answer: int

    unlabelled = frozenset({"reasoning"})


class Guarded(Program):
    """Answer."""

    class Input(Schema):
        question: str
        token: Secret | None = None

    class Output(Schema):
        answer: int


def test_data_may_lack_what_the_program_says_it_lacks() -> None:
    data = load_data([{"question": "1+1", "answer": 2}], Thoughtful)
    assert data.examples[0].output == {"answer": 2}


def test_such_a_field_is_still_checked_where_data_has_it() -> None:
    rows = [{"question": "1+1", "answer": 2, "reasoning": "So."}]
    assert load_data(rows, Thoughtful).examples[0].output == {"reasoning": "So.", "answer": 2}
    with pytest.raises(DataError, match="column 'reasoning'"):
        load_data([{**rows[0], "reasoning": 3}], Thoughtful)
    with pytest.raises(DataError, match="'answer'"):
        load_data([{"question": "1+1", "reasoning": "So."}], Thoughtful)


def test_a_secret_given_outright_is_refused_with_row_and_column_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,key,answer\na,env:MY_KEY,1\nb,sk-12345,2\nc,,3\n")
    with pytest.raises(DataError, match=r"line 3, column 'key' \(field token\): a secret given outright") as caught:
        load_data(path, Guarded, mapping={"token": "key"})
    assert "1 bad value in 1 row" in str(caught.value)
    assert "sk-12345" not in str(caught.value)


def test_a_secret_named_by_its_variable_stays_that_name() -> None:
    data = load_data([{"question": "a", "token": "env:MY_KEY", "answer": 1}], Guarded)
    assert data.examples[0].input["token"] == "env:MY_KEY"
