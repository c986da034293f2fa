"""Public names: every one is there, and importing the packages costs next to nothing."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = tuple(f"dspex_ray.{part}" for part in ("calls", "modules", "streaming", "tracing"))
PACKAGES = ("dspex_agents", "dspex_coordination", "dspex_ray")
HEAVY = ("ray", "litellm", "numpy", "sqlalchemy", "pandas", "aiohttp")
_MEASURE = f"""
import json, sys, time
started = time.perf_counter()
import dspex_ray
took = time.perf_counter() - started
print(json.dumps([took, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    package = importlib.import_module(name)
    homes = package._HOMES
    assert sorted(package.__all__) == sorted(homes)
    assert set(package.__all__) <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is getattr(importlib.import_module(homes[public]), public)


@pytest.mark.parametrize("name", PACKAGES)
def test_type_checkers_are_told_the_same_names_from_the_same_modules(name: str) -> None:
    package = importlib.import_module(name)
    told = {
        alias.name: node.module
        for block in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == package._HOMES


@pytest.mark.parametrize("name", PACKAGES)
def test_an_unknown_name_is_an_attribute_error_that_names_the_package(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Nope'"):
        importlib.import_module(name).Nope  # noqa: B018 - the look-up is what is tested


def test_importing_dspex_ray_is_quick_and_loads_nothing_heavy() -> None:
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", _MEASURE], check=True, capture_output=True).stdout)
        for _ in range(5)
    ]
    assert all(loaded == [] for _, loaded in runs)
    assert min(took for took, _ in runs) < 0.3


@pytest.mark.parametrize("name", [*PACKAGES, *PARTS])
def test_no_public_name_is_hidden_by_a_module_of_that_name(name: str) -> None:
    package = importlib.import_module(name)
    folder = Path(package.__file__ or "").parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert not modules & set(package.__all__)
