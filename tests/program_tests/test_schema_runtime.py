from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from dspex_coordination.variables import Choice, Float
from dspex_ray.errors import DataError, InputError, ProgramError
from dspex_ray.programs.program import Program
from dspex_ray.schema import (
    Embedding,
    Probability,
    Schema,
    infer_schema,
    make_schema,
    merge_schemas,
    transform,
    tunable_fields,
    validation,
)

FIELDS: dict[str, Any] = {
    "label": (str, {"choices": ["a", "b"], "default": "a", "variable": True}),
    "vector": ("embedding", {"dimension": 2}),
    "count": (int, {"range": (1, 5)}),
    "code": (str, {"regex": "^[a-z]+$", "min_length": 2, "max_length": 4, "required": False}),
    "share": (Probability, {"default": 0.5, "variable": True}),
}


def _problems(schema: type[Schema], values: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        schema.parse(values)
    return dict(caught.value.problems)


def test_fields_of_a_schema_made_at_run_time_have_types_and_defaults() -> None:
    made = make_schema("Made", FIELDS, doc="Made at run time.")
    found = made.parse({"vector": (1, 2), "count": 3})
    assert found.model_dump() == {"label": "a", "vector": [1.0, 2.0], "count": 3, "code": None, "share": 0.5}
    assert (made.__name__, made.__doc__) == ("Made", "Made at run time.")


@pytest.mark.parametrize(
    ("kind", "given_options", "good", "bad"),
    [
        (int, {"gteq": 2}, 2, 1),
        (int, {"lteq": 2}, 2, 3),
        (float, {"gt": 2}, 2.1, 2),
        (float, {"lt": 2}, 1.9, 2),
        (int, {"range": [2, 4]}, 4, 5),
        (str, {"min_length": 2}, "ab", "a"),
        (list[int], {"max_length": 1}, [1], [1, 2]),
        (str, {"regex": "^a+$"}, "aa", "ab"),
        (Embedding, {"dimension": 2}, [1, 2], [1]),
        ("string", {"choices": ["x", "y"]}, "y", "z"),
        ("tensor", {"shape": (1, 2), "dtype": "int"}, [[1, 2]], [[1], [2]]),
    ],
)
def test_bug_adapter_constraints_parsed_but_not_applied(
    kind: Any, given_options: dict[str, Any], good: Any, bad: Any
) -> None:
    made = make_schema("One", {"it": (kind, given_options)})
    assert made.parse({"it": good})
    assert list(_problems(made, {"it": bad})) == ["it"]


def test_every_field_that_cannot_be_made_is_told_at_once() -> None:
    wrong = {
        "a": (int, {"gteqq": 1}),
        "b": "embeding",
        "c": (str, {"ge": 3}),
        "d": (int, {"range": 5}),
        "e": (str, {"regex": "("}),
        "f": None,
        "g": (str, {"choices": []}),
        "no name": int,
        "h": (int, "ge=1"),
    }
    with pytest.raises(ProgramError) as caught:
        make_schema("Wrong", wrong)
    lines = str(caught.value).splitlines()
    assert lines[0] == "9 bad fields:"
    assert "a: int has no option 'gteqq' (did you mean 'gteq'?)" in lines[1]
    assert "'b'" in lines[2]
    assert "Did you mean 'embedding'" in lines[2]
    assert "'f' has no type" in lines[6]


def test_a_default_that_breaks_its_field_is_an_error() -> None:
    with pytest.raises(ProgramError, match=r"a default breaks its own field: n: .*greater than or equal to 1, got 0"):
        make_schema("Wrong", {"n": (int, {"gteq": 1, "default": 0})})


@pytest.mark.parametrize(("name", "fields"), [("two words", {"a": int}), ("A", {}), ("A", [("a", int)])])
def test_a_schema_needs_a_name_and_fields(name: str, fields: Any) -> None:
    with pytest.raises(ProgramError):
        make_schema(name, fields)


def test_variables_of_a_made_schema_are_extracted() -> None:
    found = tunable_fields(make_schema("Made", FIELDS))
    assert {name: type(one) for name, one in found.items()} == {"label": Choice, "share": Float}


@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_a_made_schema_and_its_values_survive_pickling(library: Any) -> None:
    made = make_schema("Made", FIELDS)
    value = made.parse({"vector": [1, 2], "count": 3})
    again = pickle.loads(library.dumps(value))
    assert again == value
    assert type(again) is made


def test_a_made_schema_keeps_constraints_and_variables_in_another_process(tmp_path: Path) -> None:
    class Uses(Program):
        """Answer."""

        Input = make_schema("Made", FIELDS)
        Output = merge_schemas(make_schema("One", {"a": int}), infer_schema([{"b": 1.5}]))

    files = {"plain": pickle.dumps(Uses.Input), "cloud": cloudpickle.dumps(Uses)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    script = f"""
import pickle, pathlib
from dspex_ray.errors import InputError
from dspex_ray.schema import tunable_fields
here = pathlib.Path({str(tmp_path)!r})
uses = pickle.loads((here / "cloud").read_bytes())
for schema in (pickle.loads((here / "plain").read_bytes()), uses.Input):
    try:
        schema.parse({{"vector": [1], "count": 9, "code": "A"}})
    except InputError as error:
        print([path for path, _ in error.problems], list(tunable_fields(schema)))
print(uses.Output.parse({{"a": 1, "b": 2}}), list(uses.space().names))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    told = "['vector', 'count', 'code'] ['label', 'share']"
    assert done.stdout.splitlines() == [told, told, "a=1 b=2.0 ['input.label', 'input.share']"], done.stderr


def test_a_schema_is_inferred_from_examples() -> None:
    rows = [
        {"id": 1, "kind": "cash", "score": 1, "address": {"city": "Oslo", "zip": None}, "tags": ["a"], "ok": True},
        {"id": 2, "kind": "card", "score": 0.5, "address": {"city": "Rome", "zip": 7}, "tags": []},
    ] * 2
    made = infer_schema(rows, "Row")
    kinds = {name: info.annotation for name, info in made.model_fields.items()}
    address: Any = kinds.pop("address")
    assert kinds == {
        "id": int,
        "kind": Literal["card", "cash"],
        "score": float,
        "tags": list[str],
        "ok": bool | None,
    }
    assert address.__name__ == "RowAddress"
    assert address.model_fields["city"].annotation == Literal["Oslo", "Rome"]
    assert not address.model_fields["zip"].is_required()
    assert all(made.parse(row) for row in rows)


def test_text_that_is_not_repeated_stays_text() -> None:
    assert infer_schema([{"t": "a"}, {"t": "b"}]).model_fields["t"].annotation is str
    assert infer_schema([{"t": "a"}] * 5).model_fields["t"].annotation is str
    assert infer_schema([{"t": "a"}, {"t": "b"}] * 9, most_options=0).model_fields["t"].annotation is str


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from(["a", "b", "c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["p", "q", "r"]), json_values, min_size=1), min_size=1, max_size=6))
def test_every_example_follows_the_schema_inferred_from_it(rows: list[dict[str, Any]]) -> None:
    made = infer_schema(rows)
    for row in rows:
        dumped = made.parse(row).model_dump(mode="json", exclude_unset=True)
        assert {key: value for key, value in dumped.items() if key in row} == row


@pytest.mark.parametrize("examples", [[], {"a": 1}, "text", [1], [{"no name": 1}], [{}]])
def test_what_is_no_list_of_objects_gives_no_schema(examples: Any) -> None:
    with pytest.raises(DataError):
        infer_schema(examples)


class First(Schema):
    name: str
    count: int = 1

    @transform("name")
    @staticmethod
    def upper(value: str) -> str:
        return value.upper()


class Second(Schema):
    count: float = 1.0
    place: Annotated[str, Field(min_length=2)]

    @validation
    def few(self) -> None:
        if self.count > 5:
            raise ValueError("too many")


def test_merged_schemas_contradict_each_other_or_one_of_them_wins() -> None:
    with pytest.raises(ProgramError, match=r"count is annotation=int.*annotation=float.*choose with on_conflict"):
        merge_schemas(First, Second)
    first = merge_schemas(First, Second, on_conflict="first")
    assert list(first.model_fields) == ["name", "count", "place"]
    assert first.__name__ == "FirstAndSecond"
    assert first.model_fields["count"].annotation is int
    assert merge_schemas(First, Second, on_conflict="last").model_fields["count"].annotation is float
    both = merge_schemas(First, Second, on_conflict="union", name="Both").model_fields["count"]
    assert both.annotation == int | float
    assert both.default == 1


def test_a_merged_schema_keeps_constraints_transforms_and_validations_also_pickled() -> None:
    made = merge_schemas(First, Second, on_conflict="last")
    for schema in (made, pickle.loads(pickle.dumps(made))):
        assert schema.parse({"name": "a", "place": "Oslo"}).model_dump()["name"] == "A"
        assert _problems(schema, {"name": "a", "place": "O"}).keys() == {"place"}
        assert _problems(schema, {"name": "a", "place": "Oslo", "count": 6.0}) == {"": "too many"}


def test_two_transforms_of_one_name_cannot_be_merged() -> None:
    class Third(Schema):
        name: str

        @transform("name")
        @staticmethod
        def upper(value: str) -> str:
            return value + "!"

    with pytest.raises(ProgramError, match="First and Third both have a method 'upper'"):
        merge_schemas(First, Third)
    assert merge_schemas(First, First).parse({"name": "a"})


def test_merging_takes_a_known_rule() -> None:
    with pytest.raises(ProgramError, match="on_conflict is"):
        merge_schemas(First, Second, on_conflict="newest")  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match="at least one schema"):
        merge_schemas()
