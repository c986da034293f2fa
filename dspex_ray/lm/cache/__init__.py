"""Replies kept for equal requests: exact, bounded, shared through files, without pickle."""

from __future__ import annotations

from dspex_ray.lm.cache.base import CachedReply, ReplyCache
from dspex_ray.lm.cache.cached_lm import CachedLM
from dspex_ray.lm.cache.disk import DiskCache
from dspex_ray.lm.cache.key import request_key
from dspex_ray.lm.cache.memory import MemoryCache
from dspex_ray.lm.cache.settings import CacheSettings, default_folder

__all__ = [
    "CacheSettings",
    "CachedLM",
    "CachedReply",
    "DiskCache",
    "MemoryCache",
    "ReplyCache",
    "default_folder",
    "request_key",
]
