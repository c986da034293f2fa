"""`Predict`: one typed model call."""

from __future__ import annotations

from typing import Any

from dspex_coordination.variables import Demos
from dspex_ray.modules.strategy import Strategy


class Predict(Strategy):
    """Ask the model once for the output: `Predict("question -> answer: float")`, or a base class with schemas.

    `demos` are tunable from the start; any setting of a model call (`temperature`, `max_tokens`, `model`, ...) may be
    given as a value or as a variable.
    """

    demos: Any = Demos(max=16)
