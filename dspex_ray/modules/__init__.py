"""Ready strategies: ways of asking a model, each a `Program` to subclass or to make around a signature or a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_ray.modules.chain_of_thought import (
        ChainOfThought,
    )
    from dspex_ray.modules.predict import (
        Predict,
    )
    from dspex_ray.modules.signature import (
        Signature,
    )
    from dspex_ray.modules.strategy import (
        Strategy,
    )

_HOMES = {
    "ChainOfThought": "dspex_ray.modules.chain_of_thought",
    "Predict": "dspex_ray.modules.predict",
    "Signature": "dspex_ray.modules.signature",
    "Strategy": "dspex_ray.modules.strategy",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "ChainOfThought",
    "Predict",
    "Signature",
    "Strategy",
]
