"""From a model's name to a client: which path serves it, at which address, with which key."""

from __future__ import annotations

import difflib
from urllib.parse import urlsplit

from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.lm.base import LM
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.prices import known_models, known_providers, price_of, provider_of

EMBEDDED = "embedded/nearest"
_OPENAI_URL = "https://api.openai.com/v1"
_OLLAMA_URL = "http://127.0.0.1:11434"
_LLAMACPP_URL = "http://127.0.0.1:8080/v1"
_DIRECT = ("openai", "ollama", "vllm", "hosted_vllm", "llamacpp")


def resolve_lm(
    name: str | LM | None,
    *,
    settings: Settings | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    limits: LMLimits | None = None,
) -> LM:
    """Return the client for a model's name; a client is returned as it is.

    Several names with `|` between them fall over: the next answers where one cannot (see `FallbackLM`). `limits` hold
    for each of them.

    None means what `settings` (the environment by default) names, else `embedded/nearest`. `openai/`, `ollama/`,
    `vllm/` (or `hosted_vllm/`) and `llamacpp/` take the direct path; every other provider litellm knows goes through
    litellm. Addresses and keys come from the arguments, else from OPENAI_BASE_URL and OPENAI_API_KEY, OLLAMA_HOST,
    VLLM_BASE_URL and VLLM_API_KEY, LLAMACPP_BASE_URL and LLAMACPP_API_KEY. On the direct path no key of the environment
    is sent to a `base_url` given here: pass `api_key` with it.

    Raises UnknownNameError with near matches for a name without a known provider, and ConfigurationError for an address
    or key that is missing or refused.
    """
    if name is not None and not isinstance(name, str):
        return name
    settings = settings or Settings.from_env()
    name = (settings.lm or EMBEDDED) if name is None else name
    if name == EMBEDDED:
        from dspex_ray.lm.embedded import EmbeddedNearest  # noqa: PLC0415 - numpy, only for this model

        return EmbeddedNearest()
    if "|" in name:
        from dspex_ray.lm.routing.fallback import FallbackLM  # noqa: PLC0415 - breakers, only for those who name several

        several = [one.strip() for one in name.split("|")]
        return FallbackLM(
            [resolve_lm(one, settings=settings, base_url=base_url, api_key=api_key, limits=limits) for one in several]
        )
    provider, _, wire_model = name.partition("/")
    if provider in _DIRECT and wire_model:
        return _direct(name, settings, base_url, api_key, limits)
    if wire_model and provider != "embedded" and provider in known_providers():
        from dspex_ray.lm.litellm_client import LiteLLMLM  # noqa: PLC0415 - only for litellm's providers

        return LiteLLMLM(name, base_url=base_url, api_key=api_key, limits=limits)
    raise UnknownNameError("model", name, _suggestions(name))


def _direct(name: str, settings: Settings, base_url: str | None, api_key: str | None, limits: LMLimits | None) -> LM:
    from dspex_ray.lm.openai_compatible import OpenAICompatibleLM  # noqa: PLC0415 - aiohttp costs 0.2 s of import

    provider, _, wire_model = name.partition("/")
    found_url, found_key = _address(provider, settings)
    url = base_url or found_url
    if url is None:
        msg = f"{name} needs an address: give base_url or set VLLM_BASE_URL, for example http://127.0.0.1:8000/v1."
        raise ConfigurationError(msg)
    key = api_key or (None if base_url else found_key)
    return OpenAICompatibleLM(
        name, wire_model=wire_model, base_url=url, api_key=key, price=price_of(name), limits=limits
    )


def _address(provider: str, settings: Settings) -> tuple[str | None, str | None]:
    """Return the base URL and the key of a direct provider, as far as the environment gives them."""
    match provider:
        case "openai":
            return settings.secret("OPENAI_BASE_URL") or _OPENAI_URL, settings.secret("OPENAI_API_KEY")
        case "ollama":
            return f"{_ollama_host(settings.secret('OLLAMA_HOST'))}/v1", None
        case "llamacpp":
            return settings.secret("LLAMACPP_BASE_URL") or _LLAMACPP_URL, settings.secret("LLAMACPP_API_KEY")
        case _:
            return settings.secret("VLLM_BASE_URL"), settings.secret("VLLM_API_KEY")


def _ollama_host(host: str | None) -> str:
    """Return OLLAMA_HOST as a URL; Ollama allows it without scheme or port, and 0.0.0.0 for its server."""
    if host is None:
        return _OLLAMA_URL
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = "127.0.0.1" if parts.hostname in (None, "0.0.0.0") else parts.hostname  # noqa: S104 - read, not bound
    port = parts.port or (443 if parts.scheme == "https" else 11434)
    return f"{parts.scheme}://{name}:{port}"


def _suggestions(name: str) -> list[str]:
    """Return names to offer for an unknown one: the right provider for a bare model, the right spelling otherwise."""
    patterns = [EMBEDDED, *(f"{provider}/<model>" for provider in _DIRECT), "<provider litellm knows>/<model>"]
    provider, _, wire_model = name.partition("/")
    if wire_model:
        near = difflib.get_close_matches(provider, [*_DIRECT, *known_providers()], n=3, cutoff=0.6)
        return [*patterns, *(f"{spelt}/{wire_model}" for spelt in near)]
    owner = provider_of(name)
    if owner:
        return [*patterns, f"{owner}/{name}"]
    near = difflib.get_close_matches(name, known_models(), n=3, cutoff=0.7)
    return [*patterns, *(known if "/" in known else f"{provider_of(known)}/{known}" for known in near)]
