"""The OpenAPI document of an endpoint."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import httpx

from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema, field
from dspex_ray.serving.application import build_application
from dspex_ray.serving.openapi import openapi_document
from dspex_ray.serving.program_service import ProgramServiceFor


class Address(Schema):
    default: str
    inside: list[Address] = field(default_factory=list)


class Ship(Program):
    """Ship a parcel.

    Second paragraph.
    """

    class Input(Schema):
        mapping: dict[str, Address]
        address: Address
        weight_kg: float = field(ge=0)
        note: str = '{"$ref": "#/$defs/Address"}'

    class Output(Schema):
        class Address(Schema):
            line: str

        kind: Literal["letter", "box"]
        address: Address

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        raise NotImplementedError


def document() -> dict[str, Any]:
    return openapi_document(ProgramServiceFor(Ship()), "ship", "v3", "/ship")


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for item in node for ref in references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [ref for value in node.values() for ref in references(value)]


def test_the_document_names_program_version_and_paths() -> None:
    found = document()
    assert found["openapi"] == "3.1.0"
    assert found["info"]["title"] == "ship"
    assert found["info"]["version"] == "v3"
    assert found["paths"]["/ship"]["post"]["summary"] == "Ship a parcel."
    assert set(found["paths"]) == {"/ship", "/ship/stream", "/ship/healthz"}


def test_every_reference_points_at_a_component_that_is_there() -> None:
    found = document()
    refs = references(found)
    assert refs
    for reference in refs:
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in found["components"]["schemas"]


def test_equal_names_in_input_and_output_stay_apart() -> None:
    schemas = document()["components"]["schemas"]
    assert "default" in schemas["Input.Address"]["properties"]
    assert "line" in schemas["Output.Address"]["properties"]


def test_fields_called_like_schema_keywords_keep_their_references() -> None:
    schema = document()["components"]["schemas"]["Input"]
    assert schema["properties"]["mapping"]["additionalProperties"] == {"$ref": "#/components/schemas/Input.Address"}


def test_text_that_looks_like_a_reference_stays_as_it_is() -> None:
    schema = document()["components"]["schemas"]["Input"]
    assert schema["properties"]["note"]["default"] == '{"$ref": "#/$defs/Address"}'


def test_all_problem_statuses_are_described() -> None:
    responses = document()["paths"]["/ship"]["post"]["responses"]
    assert set(responses) == {"200", "400", "402", "413", "415", "422", "429", "500", "502", "503", "504"}


def test_a_discriminated_union_names_its_alternatives_by_component() -> None:
    class Tagged:
        description = "d"

        def input_schema(self) -> dict[str, Any]:
            one = {
                "discriminator": {"propertyName": "k", "mapping": {"cat": "#/$defs/Cat"}},
                "oneOf": [{"$ref": "#/$defs/Cat"}],
            }
            return {"properties": {"pet": one}, "$defs": {"Cat": {"type": "object"}}}

        def output_schema(self) -> dict[str, Any]:
            return {}

    pet = openapi_document(Tagged(), "t", "v", "")["components"]["schemas"]["Input"]["properties"]["pet"]  # type: ignore[arg-type]
    assert pet["discriminator"]["mapping"] == {"cat": "#/components/schemas/Input.Cat"}


def test_the_document_is_served_with_the_path_it_is_mounted_at() -> None:
    app = build_application(ProgramServiceFor(Ship()), name="ship", version="v3")

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path="/mounted")
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/mounted/openapi.json")

    response = asyncio.run(get())
    assert response.status_code == 200
    assert "/mounted" in json.loads(response.text)["paths"]
