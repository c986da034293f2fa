"""Running Python that a model wrote: without files, environment, network or processes, within bounds."""

from __future__ import annotations

from dspex_ray.code_runner.base import CodeLimits, CodeRunner, Ran
from dspex_ray.code_runner.monty import MontyRunner

__all__ = ["CodeLimits", "CodeRunner", "MontyRunner", "Ran"]
