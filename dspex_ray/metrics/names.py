"""Metrics by name: `f1`, `numeric(tolerance=0.01)`, `module:function`, `module:factory(limit=3)`."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from dspex_ray.data import Dataset
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.metrics.base import Metric
from dspex_ray.metrics.contains import contains
from dspex_ray.metrics.exact import Exact, exact
from dspex_ray.metrics.f1 import f1
from dspex_ray.metrics.judge import judge
from dspex_ray.metrics.numeric import numeric
from dspex_ray.metrics.semantic import semantic
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program

METRICS: dict[str, Metric] = {
    "exact": exact,
    "contains": contains,
    "f1": f1,
    "numeric": numeric(),
    "semantic": semantic(),
    "judge": judge(),
}

_FACTORIES: dict[str, Callable[..., Metric]] = {
    "exact": exact.on,
    "contains": contains.on,
    "f1": f1.on,
    "numeric": numeric,
    "semantic": semantic,
    "judge": judge,
}

_FORM = re.compile(r"(?:(?P<module>[A-Za-z_][\w.]*):)?(?P<name>[A-Za-z_][\w.]*)\s*(?:\((?P<options>.*)\))?", re.DOTALL)


def resolve_metric(metric: str | Metric | None) -> Metric:
    """Return the metric of a name, a callable as it is, or `exact` for None.

    A name may have options, written as a call in Python: `numeric(tolerance=0.01)`, `f1(on='answer')`. Raises
    UnknownNameError, with near matches, for another name and ConfigurationError for anything else.
    """
    if metric is None:
        return exact
    if isinstance(metric, str):
        return _named(metric)
    if not callable(metric):
        raise ConfigurationError(f"A metric is a name or a function (example, output) -> float, got {shown(metric)}.")
    return metric


def default_metric(program_class: type[Program], dataset: Dataset) -> Metric:
    """Return `exact` on the output fields that every row of the data gives, in the schema's order."""
    given = [n for n in program_class.Output.model_fields if all(n in example.output for example in dataset.examples)]
    return Exact(tuple(given)) if given else exact


def _named(text: str) -> Metric:
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise UnknownNameError("metric", text, METRICS)
    module, name, options = form["module"], form["name"], form["options"]
    if module is not None:
        found = _imported(text, module, name)
        return found if options is None and not isinstance(found, type) else _made(text, found, options or "")
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name] if options is None else _made(text, _FACTORIES[name], options)


def _made(text: str, factory: Callable[..., Any], options: str) -> Metric:
    try:
        call = ast.parse(f"f({options})", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ConfigurationError(f"{text!r}: a metric's options are written as name(option=value).")
        values = [ast.literal_eval(value) for value in call.args]
        named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ConfigurationError(
            f"{text!r}: a metric's options are plain values, such as numeric(tolerance=0.01) or f1(on='answer')."
        ) from error
    signature = inspect.signature(factory)
    try:
        bound = signature.bind(*values, **named)
    except TypeError as error:
        raise ConfigurationError(f"{text!r}: {error}; the options are {signature}.") from error
    made: Any = factory(*bound.args, **bound.kwargs)
    if not callable(made):
        raise ConfigurationError(f"{text!r} makes {shown(made)}, not a function (example, output) -> float.")
    return cast("Metric", made)


def _imported(text: str, module_name: str, name: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise ConfigurationError(f"Metric {text!r}: the module {module_name!r} fails to import: {error}.") from error
    module = found
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            functions = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
            raise UnknownNameError(f"metric in {module_name}", name, functions)
    if not callable(found):
        raise ConfigurationError(f"Metric {text!r} is {shown(found)}, not a function (example, output) -> float.")
    return found
