"""Variables of every kind that a search draws, at random."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from dspex_coordination.canonical import canonical_json
from dspex_coordination.variables import Bool, Choice, Demos, Float, Int, Module, Text
from dspex_coordination.variables.float_variable import Distribution

finite = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)
scalars = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.booleans(), st.none(), st.floats(-1, 1))
seeds = st.integers(0, 2**32)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    form = draw(st.sampled_from(["plain", "log", "step", "precision"]))
    distribution: Distribution = draw(st.sampled_from(["uniform", "normal"]))
    if form == "step":
        step = draw(st.sampled_from([0.1, 0.25, 0.05, 1.0, 3.0]))
        low, count = draw(st.integers(-20, 20)), draw(st.integers(1, 40))
        return Float(low, float(f"{low + step * count:.10g}"), step=step, distribution=distribution)
    if form == "precision":
        first, count = draw(st.integers(1, 20)), draw(st.integers(1, 60))
        bottom, top = float(f"{first * 0.01:.10g}"), float(f"{(first + count) * 0.01:.10g}")
        return Float(bottom, top, precision=0.01, log=draw(st.booleans()), distribution=distribution)
    below = draw(st.floats(1e-6, 1e6) if form == "log" else finite)
    above = max(below + draw(st.floats(1e-3, 1e6)), math.nextafter(below, math.inf))
    return Float(below, above, log=form == "log", distribution=distribution)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    log, step = draw(st.booleans()), draw(st.sampled_from([1, 1, 2, 7]))
    low = draw(st.integers(step if log else -1000, 1000))
    return Int(low, low + step * draw(st.integers(1, 1000)), log=log, step=step)


@st.composite
def choices(draw: st.DrawFn) -> Choice[Any]:
    options = draw(st.lists(scalars, min_size=1, max_size=6, unique_by=canonical_json))
    weights = draw(st.none() | st.lists(st.integers(0, 5), min_size=len(options), max_size=len(options)))
    return Choice(options, weights=weights if weights and any(weights) else None, ordered=draw(st.booleans()))


texts = st.lists(st.text(max_size=5), min_size=1, max_size=5).map(lambda pool: Text(pool[0], pool=pool))
modules = st.sampled_from([Module({"text": str, "list": "builtins:list"}, interface=["index"]), Module({"text": str})])


@st.composite
def demos(draw: st.DrawFn) -> Demos:
    select = draw(st.sampled_from([("fixed",), ("nearest",), ("fixed", "nearest")]))
    variable = Demos(max=draw(st.integers(1, 5)), select=select)
    return variable.bind([f"e{i}" for i in range(draw(st.integers(0, 6)))]) if draw(st.booleans()) else variable


variables = st.one_of(
    floats(), ints(), choices(), st.booleans().map(lambda b: Bool(default=b)), texts, modules, demos()
)
