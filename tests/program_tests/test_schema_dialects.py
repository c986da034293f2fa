from __future__ import annotations

import json
from datetime import date, datetime
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import AnyUrl, Field

from dspex_ray.errors import InputError, ProgramError, UnknownNameError
from dspex_ray.schema import (
    DIALECTS,
    AttentionWeights,
    Embedding,
    Image,
    ModelUsage,
    Probability,
    ReasoningChain,
    Schema,
    Tensor,
    TokenList,
    ToolCall,
    dialect_problems,
    field,
    json_schema,
    make_schema,
)


class Address(Schema):
    """Where it is."""

    city: str = field(min_length=2, description="The town.")
    zip: str | None = None


class Card(Schema):
    kind: Literal["card"]
    last_digits: str = field(pattern="^[0-9]{4}$")


class Cash(Schema):
    kind: Literal["cash"]
    coins: int = field(3, ge=0, lt=10)


class Order(Schema):
    home: Address
    work: Address = field(description="The office.")
    pay: Annotated[Card | Cash, Field(discriminator="kind")]
    vector: Embedding = field(dim=3)
    share: Probability = 1.0
    tokens: TokenList = field(default_factory=list)
    steps: ReasoningChain
    grid: Tensor = field(shape=(2, None), dtype="int")
    attention: AttentionWeights | None = None
    picture: Image | None = None
    when: datetime | None = None
    day: date | None = None
    link: AnyUrl | None = None
    usage: ModelUsage = ModelUsage()
    pair: tuple[int, int] = (1, 2)


class Tree(Schema):
    name: str
    branches: list[Tree] = field(default_factory=list)


VALUE: dict[str, Any] = {
    "home": {"city": "Oslo", "zip": None},
    "work": {"city": "Rome", "zip": "1"},
    "pay": {"kind": "cash", "coins": 2},
    "vector": [1.0, 2.0, 3.0],
    "share": 0.5,
    "tokens": ["a", 1],
    "steps": [{"step": "a", "reasoning": "b"}],
    "grid": [[1], [2]],
    "attention": [[0.5, 0.5]],
    "picture": "https://example.org/a.png",
    "when": "2026-01-02T03:04:05Z",
    "day": "2026-01-02",
    "link": "https://example.org/",
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0},
    "pair": [1, 2],
}


def _nodes(node: Any) -> list[dict[str, Any]]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return ([node] if isinstance(node, dict) else []) + [found for one in inner for found in _nodes(one)]


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "openapi"])
@pytest.mark.parametrize("schema", [Order, Tree, Address])
def test_every_dialect_writes_a_valid_schema_that_a_full_value_follows(dialect: str, schema: type[Schema]) -> None:
    made = json_schema(schema, dialect)
    jsonschema.Draft202012Validator.check_schema(made)
    assert ("type" in made) is not (dialect == "generic" and schema is Tree)  # pydantic has a bare reference there
    validator = jsonschema.Draft202012Validator(made)
    tree = {"name": "a", "branches": [{"name": "b", "branches": []}]}
    value = {Order: VALUE, Tree: tree, Address: {"city": "Oslo", "zip": None}}[schema]
    validator.validate(value)
    schema.parse(value)
    assert not validator.is_valid({**value, "more": 1})
    assert not validator.is_valid({})


def test_openai_requires_every_field_and_allows_no_other() -> None:
    for node in _nodes(json_schema(Order, "openai")):
        if "properties" in node and isinstance(node.get("type"), str):
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])


@pytest.mark.parametrize("dialect", ["openai", "groq"])
def test_a_strict_schema_has_no_keyword_that_is_refused(dialect: str) -> None:
    made = json_schema(Order, dialect, examples=[VALUE])
    keys = {key for node in _nodes(made) for key in node} - {"kind"}
    refused = {
        "default",
        "title",
        "oneOf",
        "allOf",
        "discriminator",
        "minLength",
        "maxLength",
        "examples",
        "prefixItems",
    }
    assert not keys & refused
    assert all(set(node) == {"$ref"} for node in _nodes(made) if "$ref" in node)


def test_openai_keeps_bounds_and_known_formats_and_says_the_rest() -> None:
    found = json_schema(Order, "openai")["properties"]
    assert (found["share"]["minimum"], found["share"]["maximum"]) == (0, 1)
    assert found["share"]["description"] == "(1.0 if nothing is known)"
    assert (found["vector"]["minItems"], found["vector"]["maxItems"]) == (3, 3)
    assert found["when"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert "format" not in found["link"]["anyOf"][0]
    assert "in the format uri" in found["link"]["anyOf"][0]["description"]
    city = found["work"]["properties"]["city"]
    assert "Address" in json_schema(Order, "openai")["$defs"]
    assert json_schema(make_schema("One", {"it": (Address, {"description": "It."})}), "openai").get("$defs") is None
    assert city == {"type": "string", "description": "The town. (at least 2 characters)"}
    assert found["work"]["description"] == "The office."
    assert found["pair"]["items"] == {"type": "integer"}


def test_groq_says_every_constraint_in_words() -> None:
    share = json_schema(Order, "groq")["properties"]["share"]
    assert share == {"type": "number", "description": "(at least 0; at most 1; 1.0 if nothing is known)"}


def test_anthropic_leaves_optional_fields_optional_and_describes_each() -> None:
    made = json_schema(Order, "anthropic")
    assert "share" not in made["required"]
    assert made["properties"]["share"]["description"].startswith("The share")
    assert all("description" in one or "$ref" in one for one in made["properties"].values())
    assert not {"minimum", "maxItems", "minLength", "oneOf"} & {key for node in _nodes(made) for key in node}
    name = make_schema("Long", {"a" * 65: int})
    assert dialect_problems(name, "anthropic")[0][0] == "a" * 65


def test_a_schema_of_itself_stays_a_reference() -> None:
    made = json_schema(Tree, "openai")
    assert made["type"] == "object"
    assert made["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}
    assert json_schema(Tree, flat=True)["$defs"].keys() == {"Tree"}


def test_references_are_replaced_where_asked() -> None:
    made = json_schema(Order, flat=True)
    assert "$defs" not in made
    assert not any("$ref" in node for node in _nodes(made))
    assert made["properties"]["work"]["description"] == "The office."
    jsonschema.Draft202012Validator(made).validate(VALUE)


class Loose(Schema):
    anything: Any
    table: dict[str, int]
    call: ToolCall | None = None
    pair: tuple[int, str] = (1, "a")


def test_what_a_strict_schema_cannot_say_is_told_with_all_paths() -> None:
    found = dict(dialect_problems(Loose, "openai"))
    assert set(found) == {"anything", "table", "$ToolCall.arguments", "pair"}
    with pytest.raises(ProgramError, match=r"Schema Loose does not fit the dialect 'openai': .*anything: .*table: "):
        json_schema(Loose, "openai")
    assert json_schema(Loose, "anthropic")["properties"]["table"]["additionalProperties"] == {"type": "integer"}


def test_limits_of_openai_are_told() -> None:
    deep = make_schema("Deep0", {"a": int})
    for i in range(1, 12):
        deep = make_schema(f"Deep{i}", {"a": deep})
    assert dialect_problems(deep, "openai") == (("", "12 levels of nested objects; at most 10 are taken"),)
    many = make_schema("Many", {"a": (str, {"choices": [f"option {i}" for i in range(1200)]})})
    assert ("", "1200 enum values; at most 1000 are taken") in dialect_problems(many, "openai")
    long = make_schema("Long", {"a": (str, {"choices": [f"{i:080d}" for i in range(300)]})})
    assert [m for _, m in dialect_problems(long, "openai")] == [
        "24000 characters in an enum of more than 250 values; at most 15000 are taken"
    ]
    assert dialect_problems(long, "groq") == ()


def test_openapi_puts_the_schema_and_its_definitions_into_components() -> None:
    made = json_schema(Order, "openapi")
    found = made["components"]["schemas"]
    assert made["$ref"] == "#/components/schemas/Order"
    assert {"Order", "Order.Address", "Order.Cash"} <= set(found)
    assert found["Order"]["properties"]["home"]["$ref"] == "#/components/schemas/Order.Address"
    assert found["Order"]["properties"]["pay"]["discriminator"]["mapping"]["cash"].endswith("/Order.Cash")
    tree = json_schema(Tree, "openapi")
    jsonschema.Draft202012Validator(tree).validate({"name": "a", "branches": [{"name": "b"}]})


def test_examples_are_checked_and_shown() -> None:
    assert json_schema(Address, examples=[{"city": "Oslo"}])["examples"] == [{"city": "Oslo"}]
    assert 'for example {"city": "Oslo"}' in json_schema(Address, "openai", examples=[{"city": "Oslo"}])["description"]
    with pytest.raises(InputError, match="city"):
        json_schema(Address, examples=[{"city": "O"}])


def test_a_dialect_that_is_not_known_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown JSON Schema dialect 'openia'\. Did you mean 'openai'"):
        json_schema(Order, "openia")
    with pytest.raises(UnknownNameError):
        dialect_problems(Order, "gemini")


def test_the_schema_of_what_is_written_fits_what_is_written() -> None:
    written = Order.parse(VALUE).model_dump(mode="json")
    jsonschema.Draft202012Validator(json_schema(Order, mode="serialization")).validate(written)
    assert json.loads(json.dumps(written)) == written
