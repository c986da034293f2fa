"""Several models behind one client: the next where one fails, or the load spread over them."""

from __future__ import annotations

from dspex_ray.lm.routing.fallback import FALLS_OVER, FallbackLM
from dspex_ray.lm.routing.routed import RoutedLM

__all__ = ["FALLS_OVER", "FallbackLM", "RoutedLM"]
