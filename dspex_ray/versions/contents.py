"""What stands in a version's state, by kind: what is told, what is shown, and every other value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_ray.store import Version


@dataclass(frozen=True, slots=True)
class Shown:
    """How a `Demos` variable chooses (`select`, and `k` for the nearest), and from which demonstrations, in order."""

    select: str
    k: int | None
    demos: tuple[Mapping[str, Any], ...]


def told_in(version: Version) -> dict[str, str]:
    """Return what each model call is told, by its path; those the state does not name are the program's at the time."""
    state = version.state or {}
    told = {str(path): str(text) for path, text in (version.facts.get("interface") or {}).get("told", {}).items()}
    told |= state.get("instructions") or {}
    for name, value in (state.get("values") or {}).items():
        if _is_instruction(name) and isinstance(value, str):
            told[name.removesuffix("instruction").rstrip(".")] = value
    return told


def shown_in(version: Version) -> dict[str, Shown]:
    """Return what each `Demos` variable shows, by its name."""
    state = version.state or {}
    return {name: _shown(state, name, value) for name, value in (state.get("values") or {}).items() if _is_demos(value)}


def other_values(version: Version) -> dict[str, Any]:
    """Return the values that are neither instructions nor demonstrations."""
    values = (version.state or {}).get("values") or {}
    return {name: value for name, value in values.items() if not (_is_demos(value) or _is_instruction(name))}


def _is_demos(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("select") in ("fixed", "nearest", "given")


def _is_instruction(name: str) -> bool:
    return name == "instruction" or name.endswith(".instruction")


def _shown(state: Mapping[str, Any], name: str, value: Mapping[str, Any]) -> Shown:
    pool = (state.get("part_pools") or {}).get(name.rpartition(".")[0]) or state.get("demo_pool") or {}
    examples: list[Mapping[str, Any]] = pool.get("examples", [])
    if value["select"] == "given":
        chosen = list(value.get("demos", ()))
    elif value["select"] == "fixed":
        by_id = {example["id"]: example for example in examples}
        chosen = [by_id[id_] for id_ in value.get("ids", ()) if id_ in by_id]
    else:
        chosen = examples
    return Shown(value["select"], value.get("k"), tuple({"input": d["input"], "output": d["output"]} for d in chosen))
