"""The provider of a model, as the GenAI conventions name it, from the name a user wrote."""

from __future__ import annotations

_NAMES = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}


def provider_and_model(name: str) -> tuple[str, str]:
    """Return `gen_ai.provider.name` and `gen_ai.request.model` of a name such as `openai/gpt-4o-mini`."""
    prefix, slash, model = name.partition("/")
    return (_NAMES.get(prefix, prefix), model) if slash and model else ("openai", name)
