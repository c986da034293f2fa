from __future__ import annotations

import base64
import json
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import InputError, ProgramError
from dspex_ray.problems import Problem
from dspex_ray.schema import (
    AttentionWeights,
    ConfidenceScore,
    Embedding,
    Faults,
    Image,
    ModelResponse,
    Picture,
    Probability,
    ReasoningChain,
    Schema,
    SchemaMeta,
    Tensor,
    TokenList,
    ToolCall,
    check,
    field,
    options,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
PNG_TEXT = base64.b64encode(PNG).decode()


def _one(annotation: Any, **given_options: Any) -> type[Schema]:
    make: Any = SchemaMeta
    body = {"__module__": __name__, "__annotations__": {"it": annotation}, "it": field(**given_options)}
    made: type[Schema] = make("One", (Schema,), body)
    return made


def _value(annotation: Any, value: Any, **given_options: Any) -> Any:
    return getattr(_one(annotation, **given_options).parse({"it": value}), "it")  # noqa: B009 - `it` is made at run time


def _problems(annotation: Any, value: Any, **given_options: Any) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        _one(annotation, **given_options).parse({"it": value})
    return caught.value.problems


@pytest.mark.parametrize(
    "value", [[1, 2.5, 3], (1, 2.5, 3), np.array([1, 2.5, 3]), np.array([1, 2.5, 3], dtype="float32")]
)
def test_an_embedding_is_a_list_of_floats_whatever_it_was_given_as(value: Any) -> None:
    found = _value(Embedding, value, dim=3)
    assert found == [1.0, 2.5, 3.0]
    assert [type(one) for one in found] == [float] * 3


def test_numpy_scalars_in_a_list_are_numbers() -> None:
    assert _value(Embedding, [np.float32(0.5), np.float32(0.25)]) == [0.5, 0.25]


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ([1.0, 2.0], "it", "expected 3 numbers, got 2"),
        ([], "it", "expected 3 numbers, got 0"),
        ([1.0, True, 2.0], "it[1]", "valid number"),
        ([1.0, float("nan"), 2.0], "it[1]", "finite"),
        (np.array([1.0, np.inf, 2.0]), "it[1]", "finite"),
        (np.array([[1.0, 2.0, 3.0]]), "it", "expected 3 numbers, got 1"),
        ("abc", "it", "valid list"),
        ([1.0, "2", 3.0], "it[1]", "valid number"),
    ],
)
def test_what_is_no_embedding_is_refused_at_its_place(value: Any, path: str, message: str) -> None:
    (problem,) = _problems(Embedding, value, dim=3)
    assert problem[0] == path
    assert message in problem[1]


def test_an_embedding_of_any_dimension_is_not_empty() -> None:
    assert _problems(Embedding, []) == (("it", "expected some numbers, got 0"),)


def test_of_many_bad_elements_twenty_are_told_and_the_rest_counted() -> None:
    found = _problems(Embedding, [float("inf")] * 1536)
    assert len(found) == 21
    assert found[-1] == ("it", "1516 more elements are bad")


def test_lengths_set_beside_an_ml_type_hold() -> None:
    assert _value(Embedding, [1, 2], min_length=2, max_length=3) == [1.0, 2.0]
    assert "at most 3" in _problems(Embedding, [1, 2, 3, 4], min_length=2, max_length=3)[0][1]
    assert _problems(TokenList, ["a"], vocabulary=10, min_length=2)[0][0] == "it"


def test_options_reach_an_optional_and_a_nested_ml_type() -> None:
    assert _value(Embedding | None, None, dim=2) is None
    assert _problems(Embedding | None, [1.0], dim=2) == (("it", "expected 2 numbers, got 1"),)
    vectors = list[Annotated[Embedding, options(dim=2)]]
    assert _problems(vectors, [[1, 2], [1]]) == (("it[1]", "expected 2 numbers, got 1"),)


@pytest.mark.parametrize(
    ("annotation", "given_options", "message"),
    [
        (Embedding, {"dims": 3}, r"One\.it: Embedding has no option 'dims' \(did you mean 'dim'\?\); its options are"),
        (Embedding, {"dim": 0}, "One.it: Embedding's dim is a whole number from 1 on, got 0"),
        (Tensor, {"shape": (2, -1)}, "Tensor's shape is"),
        (Tensor, {"dtype": "complex"}, "Tensor's dtype is one of float, int, bool"),
        (AttentionWeights, {"tolerance": 2}, "tolerance is a number from 0"),
        (TokenList, {"vocabulary": True}, "vocabulary is a whole number"),
        (Image, {"max_bytes": "1 MB"}, "max_bytes is a whole number"),
        (Image, {"media_types": ("image/svg+xml",)}, "media_types are some of"),
        (str, {"dim": 3}, "One.it: str has no option 'dim'"),
        (str, {"max_lenght": 3}, r"no option 'max_lenght' \(did you mean 'max_length'\?\)"),
        (str, {"ge": 3}, "One.it: str has no option 'ge'; it has min_length"),
        (int, {"min_length": 3}, "int has no option 'min_length'"),
        (bool, {"ge": 0}, "bool has no option 'ge'; it has none"),
        (int, {"ge": 5, "le": 2}, "no value is at least 5 and at most 2"),
        (str, {"pattern": "("}, "regex parse error|unclosed group"),
    ],
)
def test_an_unknown_or_senseless_option_is_an_error_of_the_class(
    annotation: Any, given_options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        _one(annotation, **given_options)


def test_options_of_no_ml_type_inside_another_type_are_an_error() -> None:
    with pytest.raises(ProgramError, match="str has no option 'dim'"):
        _one(list[Annotated[str, options(dim=3)]])


def test_bug_ragged_tensor_is_refused_with_the_rows_that_differ() -> None:
    found = _problems(Tensor, [[1, 2], [3], [4, 5], [6, 7, 8], 9])
    assert [path for path, _ in found] == ["it[1]", "it[3]", "it[4]"]
    assert found[0][1] == "ragged: expected 2 elements as in the first row, got 1"
    deep = _problems(Tensor, [[[1, 2], [3, 4]], [[5, 6], [7, [8]]]])
    assert [path for path, _ in deep] == ["it[1][1][1]"]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_rectangular_tensor_comes_back_and_one_with_a_shorter_row_never(shape: list[int], draw: Any) -> None:
    array = np.arange(np.prod(shape), dtype=float).reshape(shape)
    schema = _one(Tensor)
    assert schema.parse({"it": array}).model_dump()["it"] == array.tolist()
    if len(shape) > 1 and max(shape[:-1]) > 1:
        ragged = array.tolist()
        row: Any = ragged
        for side in shape[:-1]:
            row = row[draw.randrange(side)]
        row.append(0.0)
        with pytest.raises(InputError, match="ragged"):
            schema.parse({"it": ragged})


def test_a_tensor_keeps_shape_and_kind_of_number() -> None:
    assert _value(Tensor, np.ones((2, 3), dtype=int), shape=(2, None), dtype="int") == [[1, 1, 1], [1, 1, 1]]
    assert _problems(Tensor, [[1, 2]], shape=(2, None)) == (("it", "expected shape (2, any), got (1, 2)"),)
    assert _problems(Tensor, [1.5], dtype="int")[0][0] == "it[0]"
    assert _problems(Tensor, [[1, True]])[0][0] == "it[0][1]"
    assert _problems(Tensor, [[1.0, float("inf")]])[0][0] == "it[0][1]"
    assert _problems(Tensor, [[]])[0][1].startswith("an empty tensor")
    assert _value(Tensor, [True, False], dtype="bool") == [True, False]


def test_a_tensor_nested_without_end_is_refused() -> None:
    value: list[Any] = [1]
    for _ in range(100):
        value = [value]
    assert _problems(Tensor, value) == (("it", "nested more than 32 deep"),)


def test_tokens_are_texts_and_ids_but_no_truth_values() -> None:
    assert _value(TokenList, ["a", 3, "7"]) == ["a", 3, "7"]
    assert _problems(TokenList, [1, True, -1, 2.5])[0][0] == "it[1]"
    assert [path for path, _ in _problems(TokenList, ["a", 12], vocabulary=10)] == ["it[1]"]
    assert _problems(TokenList, ["a", "b"], max_tokens=1)[0][0] == "it"


def test_bug_confidence_score_is_bounded_like_the_variable_of_its_name() -> None:
    assert _value(ConfidenceScore, 1) == 1.0
    assert _problems(ConfidenceScore, 1.01)[0][0] == "it"
    assert _problems(Probability, -0.01)[0][0] == "it"


def test_bug_attention_rows_must_sum_to_one() -> None:
    assert _value(AttentionWeights, np.full((2, 4), 0.25)) == [[0.25] * 4] * 2
    found = dict(_problems(AttentionWeights, [[0.5, 0.5], [0.5, 0.4], [1.0, 1.0]]))
    assert found == {
        "it[1]": "a row of attention sums to 1, this one to 0.9",
        "it[2]": "a row of attention sums to 1, this one to 2",
    }
    assert _value(AttentionWeights, [[0.5, 0.4]], tolerance=0.2) == [[0.5, 0.4]]


def test_attention_is_a_rectangle_without_negative_weights() -> None:
    assert "ragged" in _problems(AttentionWeights, [[0.5, 0.5], [1.0]])[0][1]
    assert _problems(AttentionWeights, [[1.5, -0.5]])[0][0] == "it[0][1]"
    assert "expected shape (any, any), got (2)" in _problems(AttentionWeights, [0.5, 0.5])[0][1]


def test_a_reasoning_chain_has_steps_with_step_and_reasoning() -> None:
    made = _value(ReasoningChain, [{"step": "add", "reasoning": "1 + 1"}])
    assert made[0].reasoning == "1 + 1"
    found = dict(_problems(ReasoningChain, [{"step": ""}, {"step": "a", "reasoning": "b", "why": 1}]))
    assert list(found) == ["it[0].step", "it[0].reasoning", "it[1].why"]
    assert _problems(ReasoningChain, [])[0][0] == "it"


def test_a_tool_call_takes_the_json_text_that_providers_send() -> None:
    made = ToolCall.parse({"id": "c1", "name": "search", "arguments": '{"query": "ray", "top": 3}'})
    assert made.arguments == {"query": "ray", "top": 3}
    with pytest.raises(InputError) as caught:
        ToolCall.parse({"name": "two words", "arguments": "{'a': 1"})
    assert [path for path, _ in caught.value.problems] == ["name", "arguments"]


def test_a_model_response_has_text_and_counts() -> None:
    made = ModelResponse.parse({"text": "Hi", "usage": {"prompt_tokens": 3}})
    assert (made.text, made.usage.prompt_tokens, made.finish_reason) == ("Hi", 3, "stop")
    with pytest.raises(InputError, match=r"text: required, but missing; usage\.prompt_tokens"):
        ModelResponse.parse({"usage": {"prompt_tokens": -1}})


@pytest.mark.parametrize("given_as", [PNG, bytearray(PNG), PNG_TEXT, f"data:image/png;base64,{PNG_TEXT}"])
def test_an_image_is_known_by_its_first_bytes_and_written_as_a_data_url(given_as: Any) -> None:
    made = _one(Image).parse({"it": given_as})
    assert json.loads(made.model_dump_json()) == {"it": f"data:image/png;base64,{PNG_TEXT}"}
    assert made.model_dump() == {"it": Picture(data=PNG, media_type="image/png")}
    assert type(made).parse(made.model_dump(mode="json")) == type(made).parse(made.model_dump()) == made
    assert PNG_TEXT not in repr(made)


def test_an_image_by_address_is_not_fetched() -> None:
    assert _value(Image, "https://example.org/cat.png").as_url() == "https://example.org/cat.png"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("file:///etc/passwd", "expected an http or https URL"),
        ("https://", "expected an http or https URL"),
        ("not base64!", "neither a URL nor base64"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image of a known kind"),
        (f"data:image/jpeg;base64,{PNG_TEXT}", "declared as image/jpeg, but the content is image/png"),
        ("data:image/png,raw", "expected a data URL"),
        (PNG + bytes(100), "the image has 132 bytes, more than 64"),
        (base64.b64encode(PNG + bytes(100)).decode(), "more than 64 bytes"),
        (5, "expected an image as URL"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(value: Any, message: str) -> None:
    (problem,) = _problems(Image, value, max_bytes=64)
    assert problem[0] == "it"
    assert message in problem[1]


def test_the_default_of_an_ml_type_is_read_like_a_value() -> None:
    class Search(Schema):
        vector: Embedding = field((1, 2), dim=2)  # type: ignore[assignment]
        picture: Image | None = field("https://example.org/a.png")  # type: ignore[assignment]

    made = Search()
    assert made.vector == [1.0, 2.0]
    assert made.picture == Picture(url="https://example.org/a.png")
    with pytest.raises(ProgramError, match="a default breaks its own field: it: expected 2 numbers, got 1"):
        _one(Embedding, default=[1], dim=2)


class Early(Schema):
    late: Late | None = None
    vectors: list[Late] = field(default_factory=list)


class Misspelt(Schema):
    late: Late | None = field(None, dimm=2)


class Late(Schema):
    vector: Embedding = field(dim=2)


def test_a_schema_whose_types_come_later_is_completed_and_checked_at_its_first_use() -> None:
    with pytest.raises(InputError, match=r"late\.vector: expected 2 numbers, got 1"):
        Early.parse({"late": {"vector": [1]}})
    with pytest.raises(ProgramError, match=r"Schema Misspelt\.late: .* has no option 'dimm'"):
        Misspelt.parse({})


class Everything(Schema):
    vector: Embedding | None = field(None, dim=2)
    grid: Tensor | None = None
    weights: AttentionWeights | None = None
    tokens: TokenList = field(default_factory=list)
    score: ConfidenceScore = 1.0
    chain: ReasoningChain | None = None
    picture: Image | None = None
    call: ToolCall | None = None
    reply: ModelResponse | None = None
    either: int | str | list[float] = 0


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from(["", "1", "true", "{}", "data:,", "//"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["step", "reasoning", "name", "arguments", "text"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(Everything.model_fields)), json_values))
def test_any_json_is_read_as_written_or_refused_with_paths_inside_it(values: dict[str, Any]) -> None:
    made = check(Everything, values)
    if isinstance(made, Faults):
        assert {path.partition(".")[0].partition("[")[0] for path, _ in made} <= set(values)
        assert all(message for _, message in made)
    else:
        again = made.model_dump(mode="json", exclude_unset=True)
        assert check(Everything, again) == made
        assert {key for key, value in values.items() if isinstance(value, bool)} == set()
