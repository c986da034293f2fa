"""JSON Schema as a tree: its subschemas, its references, and data and names that only look like schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

Node: TypeAlias = dict[str, Any]

DEFINITIONS = "#/$defs/"
_ONE = frozenset({"items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames"})
_LIST = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "$defs", "patternProperties", "dependentSchemas"})


def mapped(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return the node with `change` applied to each schema directly below it; all else stays as it is."""
    made: Node = {}
    for key, value in node.items():
        if key in _ONE and isinstance(value, dict):
            made[key] = change(value)
        elif key in _LIST and isinstance(value, list):
            made[key] = [change(one) if isinstance(one, dict) else one for one in value]
        elif key in _NAMED and isinstance(value, dict):
            made[key] = {name: change(one) if isinstance(one, dict) else one for name, one in value.items()}
        else:
            made[key] = value
    return made


def subschemas(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yield the node and every schema below it, with the path of the value it describes."""
    yield path, node
    for key, value in node.items():
        if key in _ONE and isinstance(value, dict):
            yield from subschemas(value, f"{path}[]" if key in ("items", "contains") else path)
        elif key in _LIST and isinstance(value, list):
            for i, one in enumerate(value):
                yield from subschemas(one, f"{path}[{i}]" if key == "prefixItems" else path)
        elif key in _NAMED and isinstance(value, dict):
            for name, one in value.items():
                below = f"{path}.{name}" if path else name
                yield from subschemas(one, below if key == "properties" else f"${name}")


def target(node: Mapping[str, Any]) -> str | None:
    """Return the name of the definition that a node refers to."""
    reference = node.get("$ref")
    found = isinstance(reference, str) and reference.startswith(DEFINITIONS)
    return str(reference).removeprefix(DEFINITIONS) if found else None


def used(root: Node) -> Node:
    """Return the schema with those definitions alone that are referred to."""
    definitions: dict[str, Node] = root.get("$defs", {})
    body = {key: value for key, value in root.items() if key != "$defs"}
    ahead, found = [body], dict[str, Node]()
    while ahead:
        names = {name for _, node in subschemas(ahead.pop()) if (name := target(node)) in definitions}
        for name in names - found.keys():
            found[name] = definitions[name]
            ahead.append(definitions[name])
    return {**body, "$defs": {name: found[name] for name in definitions if name in found}} if found else body


def recursive_names(root: Node) -> frozenset[str]:
    """Return the definitions that contain themselves."""
    definitions: dict[str, Node] = root.get("$defs", {})
    uses = {name: {found for _, n in subschemas(one) if (found := target(n))} for name, one in definitions.items()}

    def reached(name: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(uses[name])
        while ahead:
            one = ahead.pop()
            if one not in seen:
                seen.add(one)
                ahead.extend(uses.get(one, ()))
        return seen

    return frozenset(name for name in definitions if name in reached(name))


def flattened(root: Node) -> Node:
    """Return the schema with its references replaced by what they refer to; those that recur stay, in `$defs`."""
    definitions: dict[str, Node] = root.get("$defs", {})
    kept = recursive_names(root)

    def inline(node: Node) -> Node:
        name = target(node)
        if name is None or name in kept or name not in definitions:
            return mapped(node, inline)
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return mapped({**inline(definitions[name]), **beside}, inline)

    made = inline({key: value for key, value in root.items() if key != "$defs"})
    return {**made, "$defs": {name: mapped(definitions[name], inline) for name in sorted(kept)}} if kept else made


def rooted(root: Node) -> Node:
    """Return the schema with an object at its root where a recursive one has a reference there."""
    name = target(root)
    return {**root["$defs"][name], "$defs": root["$defs"]} if name else root


def components(name: str, schema: Node) -> dict[str, Node]:
    """Return the schema and its definitions as OpenAPI components: `Input`, and `Input.Address` for `$defs/Address`."""
    prefix = f"#/components/schemas/{name}."

    def moved(node: Node) -> Node:
        found = mapped(node, moved)
        if "discriminator" in found and isinstance(found["discriminator"].get("mapping"), dict):
            tags = {tag: _moved(one, prefix) for tag, one in found["discriminator"]["mapping"].items()}
            found["discriminator"] = {**found["discriminator"], "mapping": tags}
        return {**found, "$ref": _moved(found["$ref"], prefix)} if "$ref" in found else found

    body = {key: value for key, value in schema.items() if key != "$defs"}
    inner = {f"{name}.{key}": moved(value) for key, value in schema.get("$defs", {}).items()}
    return {name: moved(body), **inner}


def _moved(reference: Any, prefix: str) -> Any:
    inside = isinstance(reference, str) and reference.startswith(DEFINITIONS)
    return f"{prefix}{reference.removeprefix(DEFINITIONS)}" if inside else reference
