"""Prices and context windows of known models, read from the table litellm ships, without importing litellm."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import Usage

_TABLE = "model_prices_and_context_window_backup.json"
_PROVIDERS = "provider_endpoints_support_backup.json"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one token of each kind."""

    prompt_usd: float
    completion_usd: float
    cached_usd: float

    def cost_usd(self, usage: Usage) -> float:
        """Return what the tokens cost; the cached part of the prompt is billed at the cached rate."""
        fresh = max(usage.prompt_tokens - usage.cached_tokens, 0)
        return (
            fresh * self.prompt_usd
            + usage.cached_tokens * self.cached_usd
            + usage.completion_tokens * self.completion_usd
        )


@dataclass(frozen=True, slots=True)
class _Known:
    provider: str
    price: Price | None
    context_window: int | None
    most_output: int | None


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Where prices come from. `dated` (UTC, such as 2026-11-24) is its file's: no price in it is newer."""

    source: str
    dated: str

    def __str__(self) -> str:
        return f"{self.source}, table of {self.dated}"


@cache
def price_table() -> PriceTable:
    """Return which snapshot of prices is used. It is the one litellm ships and is never fetched."""
    changed = datetime.fromtimestamp(_path(_TABLE).stat().st_mtime, UTC)
    return PriceTable(f"litellm {importlib.metadata.version('litellm')}", changed.date().isoformat())


def price_of(model: str) -> Price | None:
    """Return the price of a model such as `openai/gpt-4o-mini`, or None when the table has none per token."""
    known = _find(model)
    return known.price if known else None


def context_window_of(model: str) -> int | None:
    """Return how many prompt tokens a model takes, or None when the table does not say."""
    known = _find(model)
    return known.context_window if known else None


def most_output_of(model: str) -> int | None:
    """Return how many tokens a model answers with at most, or None when the table does not say."""
    known = _find(model)
    return known.most_output if known else None


def provider_of(model: str) -> str | None:
    """Return the provider the table names for a model written as the table writes it, or None."""
    known = _table().get(model)
    return known.provider if known else None


def known_models() -> list[str]:
    """Return every model of the table as the table writes it, sorted; many stand there without their provider."""
    return sorted(_table())


@cache
def known_providers() -> frozenset[str]:
    """Return the provider prefixes litellm knows, such as `anthropic` or `bedrock`."""
    listed = {name.partition("/")[0] for name in _bundled(_PROVIDERS)["providers"]}
    return frozenset(listed | {known.provider for known in _table().values()})


def _find(model: str) -> _Known | None:
    table = _table()
    if model in table:
        return table[model]
    provider, _, bare = model.partition("/")
    known = table.get(bare)
    return known if known and known.provider == provider else None


@cache
def _table() -> dict[str, _Known]:
    return {name: _known(row) for name, row in _bundled(_TABLE).items() if _is_model(row)}


def _is_model(row: Any) -> bool:
    provider = row.get("litellm_provider") if isinstance(row, Mapping) else None
    return isinstance(provider, str) and " " not in provider  # the table's sample row holds a sentence there


def _known(row: Mapping[str, Any]) -> _Known:
    prompt, completion = row.get("input_cost_per_token"), row.get("output_cost_per_token")
    price = None
    if prompt is not None and completion is not None:
        cached = row.get("cache_read_input_token_cost")
        price = Price(float(prompt), float(completion), float(prompt if cached is None else cached))
    window = row.get("max_input_tokens") or row.get("max_tokens")
    most = row.get("max_output_tokens") or row.get("max_tokens")
    whole = [value if isinstance(value, int) else None for value in (window, most)]
    return _Known(row["litellm_provider"], price, *whole)


def _path(name: str) -> Path:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        msg = "litellm is not installed, so no prices and providers are known. Install it: pip install litellm."
        raise ConfigurationError(msg)
    return Path(spec.origin).parent / name


def _bundled(name: str) -> dict[str, Any]:
    path = _path(name)
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        msg = f"litellm's bundled table {path} cannot be read ({error}). Reinstall the pinned litellm release."
        raise ConfigurationError(msg) from error
    return table
