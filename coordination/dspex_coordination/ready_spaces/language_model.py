"""`language_model_space`: provider, model, sampling settings and what they cost, every candidate one that can run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_coordination.conditions import Condition, Term, V, as_condition, lookup, smallest, where
from dspex_coordination.errors import SpaceError
from dspex_coordination.ready_spaces.model_facts import MODELS, ModelFacts
from dspex_coordination.ready_spaces.reasoning import TOKEN_MULTIPLIERS, checked_strategies
from dspex_coordination.space import Constraint, Space
from dspex_coordination.variables import Choice, Composite, Float, Int, Variable

ADAPTERS = ("chat", "json", "markdown", "structured")
_DEFAULT_MAX_TOKENS = 1000
_LEAST_TOKENS = 16
_HOT, _NARROW = 1.5, 0.3  # above this temperature a top_p below that gives noise out of a handful of tokens
_MILLION = 1_000_000


def language_model_space(
    models: Sequence[ModelFacts] = MODELS,
    *,
    prompt_tokens: int = 2000,
    output_tokens: int = 500,
    max_tokens: int = 4096,
    max_cost_usd: float | None = None,
    strategies: Sequence[str] = tuple(TOKEN_MULTIPLIERS),
    weights: Mapping[str, float] | None = None,
) -> Space:
    """Return the space of calls to one of `models`, for prompts of up to `prompt_tokens` and usual `output_tokens`.

    The model is drawn among those of the drawn provider, and settings are active only for models that take them.
    `max_tokens` is the most that is searched, `max_cost_usd` a limit to the expected cost of a call, `weights` says how
    often a provider is drawn. Models that cannot serve such a call are left out. Computed are `model`,
    `context_window`, and the expected `cost_usd` of a call. Raises SpaceError for a number that cannot be, or if no
    model can serve such a call.
    """
    usual = min(_DEFAULT_MAX_TOKENS, max_tokens)
    _check_numbers(prompt_tokens, output_tokens, max_tokens, max_cost_usd)
    known = checked_strategies(strategies)
    first = min(known, key=TOKEN_MULTIPLIERS.__getitem__)
    expected = min(output_tokens * TOKEN_MULTIPLIERS[first], usual)
    usable = _usable(models, prompt_tokens, usual, expected, max_cost_usd)
    variables: dict[str, Variable[Any]] = {
        **_model_variables(usable, weights or {}),
        "adapter": Choice(ADAPTERS),
        "reasoning_strategy": Choice(known, default=first, ordered=_rising(known)),
        **_sampling_variables(usable),
        "max_tokens": Int(_LEAST_TOKENS, max_tokens, default=usual, log=True),
        "cost_usd": Composite(_expected_cost(usable, prompt_tokens, output_tokens)),
    }
    return Space(variables, _constraints(usable, set(variables), max_tokens, prompt_tokens, max_cost_usd))


def _check_numbers(prompt_tokens: int, output_tokens: int, max_tokens: int, max_cost_usd: float | None) -> None:
    problems = [
        f"{name} must be at least {least}, got {value}"
        for name, value, least in (
            ("prompt_tokens", prompt_tokens, 0),
            ("output_tokens", output_tokens, 1),
            ("max_tokens", max_tokens, _LEAST_TOKENS + 1),
        )
        if value < least
    ]
    if max_cost_usd is not None and not 0 <= max_cost_usd < math.inf:
        problems.append(f"max_cost_usd is the price of a call in US dollars, at least 0, got {max_cost_usd}")
    if problems:
        raise SpaceError("This space of language models cannot be built: " + "; ".join(problems) + ".")


def _usable(
    models: Sequence[ModelFacts], prompt_tokens: int, answer: int, expected: float, max_cost_usd: float | None
) -> tuple[ModelFacts, ...]:
    reasons: dict[str, str] = {}
    usable: dict[str, ModelFacts] = {}
    for model in models:
        cost = model.cost_usd(prompt_tokens, expected)
        if model.name in usable or model.name in reasons:
            raise SpaceError(f"The model {model.name!r} is given twice.")
        if model.context_window < prompt_tokens + answer or model.max_output < answer:
            reasons[model.name] = f"{prompt_tokens} + {answer} tokens do not fit"
        elif max_cost_usd is not None and cost > max_cost_usd:
            reasons[model.name] = f"a call costs {cost:.4g} USD"
        else:
            usable[model.name] = model
    if not usable:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "none is given"
        raise SpaceError(f"No model can serve such a call ({why}); allow more cost or fewer tokens, or give others.")
    return tuple(usable.values())


def _model_variables(models: Sequence[ModelFacts], weights: Mapping[str, float]) -> dict[str, Variable[Any]]:
    providers = tuple(dict.fromkeys(model.provider for model in models))
    strangers = sorted(set(weights) - set(providers))
    if strangers:
        raise SpaceError(f"weights names no provider of the usable models: {strangers}; those are {list(providers)}.")
    own = {one: [model.name for model in models if model.provider == one] for one in providers}
    chosen: Any = V(f"model.{providers[0]}")
    for provider in providers[1:]:
        chosen = where(V("provider") == provider, V(f"model.{provider}"), chosen)
    return {
        "provider": Choice(providers, weights=[weights.get(one, 1.0) for one in providers] if weights else None),
        **{f"model.{one}": Choice(names, when={"provider": one}) for one, names in own.items()},
        "model": Composite(chosen),
        "context_window": Composite(lookup({model.name: model.context_window for model in models}, V("model"))),
    }


def _sampling_variables(models: Sequence[ModelFacts]) -> dict[str, Variable[Any]]:
    """Make each setting active for the models that take it; one that none takes is no variable."""
    warm = [model for model in models if model.temperature is not None]
    hottest = max((model.temperature or 0.0 for model in warm), default=0.0)
    wide = [model for model in warm if model.top_p]
    fined = [model for model in models if model.penalties]
    settings: dict[str, Variable[Any]] = {}
    if warm:
        settings["temperature"] = Float(0.0, hottest, default=min(0.7, hottest), when=_for(warm, models))
    if wide:
        settings["top_p"] = Float(0.01, 1.0, default=0.9, precision=0.01, when=_for(wide, models))
    for name in ("frequency_penalty", "presence_penalty") if fined else ():
        settings[name] = Float(-2.0, 2.0, default=0.0, precision=0.1, when=_for(fined, models))
    return settings


def _for(takers: Sequence[ModelFacts], models: Sequence[ModelFacts]) -> Condition | None:
    return None if len(takers) == len(models) else as_condition({"model": [model.name for model in takers]})


def _expected_cost(models: Sequence[ModelFacts], prompt_tokens: int, output_tokens: int) -> Term:
    price_in = lookup({model.name: model.input_price for model in models}, V("model"))
    price_out = lookup({model.name: model.output_price for model in models}, V("model"))
    written = output_tokens * lookup(TOKEN_MULTIPLIERS, V("reasoning_strategy"))
    return (prompt_tokens * price_in + smallest(written, V("max_tokens")) * price_out) / _MILLION


def _constraints(
    models: Sequence[ModelFacts], names: set[str], most: int, prompt_tokens: int, max_cost_usd: float | None
) -> list[Constraint]:
    rooms = {model.name: min(model.max_output, model.context_window - prompt_tokens) for model in models}
    limits = {model.name: model.temperature for model in models if model.temperature is not None}
    found = [
        *_limits("max_tokens", rooms, most, f" (beside a prompt of {prompt_tokens} tokens)"),
        *_limits("temperature", limits, max(limits.values(), default=0.0), ""),
    ]
    if {"temperature", "top_p"} <= names:
        found.append(
            Constraint(
                ~((V("temperature") > _HOT) & (V("top_p") < _NARROW)),
                f"A temperature above {_HOT} with top_p below {_NARROW} draws noise from few tokens.",
                f"Lower temperature to {_HOT}, or raise top_p to {_NARROW}.",
            )
        )
    if max_cost_usd is not None:
        found.append(
            Constraint(
                V("cost_usd") <= max_cost_usd,
                f"A call is expected to cost more than {max_cost_usd:g} USD.",
                "Take a cheaper model, a simpler strategy or fewer max_tokens.",
            )
        )
    return found


def _limits(name: str, limits: Mapping[str, float], most: float, why: str) -> list[Constraint]:
    """Hold a setting to the limit of each model, where that is below the `most` that is searched."""
    found: list[Constraint] = []
    for limit in sorted(set(limits.values())):
        models = [model for model, held in limits.items() if held == limit]
        if limit < most:
            found.append(
                Constraint(
                    ~(V("model").is_in(models) & (V(name) > limit)),
                    f"{name} is at most {limit:g} for {', '.join(models)}{why}.",
                    f"Lower {name} to {limit:g}, or take another model.",
                )
            )
    return found


def _rising(strategies: Sequence[str]) -> bool:
    costs = [TOKEN_MULTIPLIERS[one] for one in strategies]
    return costs == sorted(costs)
