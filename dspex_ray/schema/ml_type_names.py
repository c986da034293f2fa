"""The ML types by the names under which a schema made at run time takes them."""

from __future__ import annotations

from typing import Any

from dspex_ray.schema.ml_types.attention_weights import AttentionWeights
from dspex_ray.schema.ml_types.embedding import Embedding
from dspex_ray.schema.ml_types.image import Image
from dspex_ray.schema.ml_types.model_response import ModelResponse
from dspex_ray.schema.ml_types.probability import ConfidenceScore, Probability
from dspex_ray.schema.ml_types.reasoning_chain import ReasoningChain
from dspex_ray.schema.ml_types.secret import Secret
from dspex_ray.schema.ml_types.tensor import Tensor
from dspex_ray.schema.ml_types.token_list import TokenList
from dspex_ray.schema.ml_types.tool_call import ToolCall

ML_TYPES: dict[str, Any] = {
    "attention_weights": AttentionWeights,
    "confidence_score": ConfidenceScore,
    "embedding": Embedding,
    "image": Image,
    "model_response": ModelResponse,
    "probability": Probability,
    "reasoning_chain": ReasoningChain,
    "secret": Secret,
    "tensor": Tensor,
    "token_list": TokenList,
    "tool_call": ToolCall,
}
