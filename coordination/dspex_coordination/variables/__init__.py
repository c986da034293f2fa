"""Tunable values: one kind a file, all under the contract of `base.py`."""

from __future__ import annotations

from dspex_coordination.variables.base import Scale, Variable
from dspex_coordination.variables.boolean import Bool
from dspex_coordination.variables.choice import Choice
from dspex_coordination.variables.composite import Composite
from dspex_coordination.variables.demos import Demos
from dspex_coordination.variables.float_variable import Float
from dspex_coordination.variables.int_variable import Int
from dspex_coordination.variables.module import Module
from dspex_coordination.variables.text import Text

__all__ = ["Bool", "Choice", "Composite", "Demos", "Float", "Int", "Module", "Scale", "Text", "Variable"]
