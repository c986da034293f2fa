"""Limits of models: on concurrency, requests and tokens, alone or shared by the processes of a system."""

from __future__ import annotations

from dspex_ray.lm.limits.settings import LMLimits

__all__ = ["LMLimits"]
