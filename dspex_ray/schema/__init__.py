"""Typed inputs and outputs: pydantic models with the types of machine learning, made in a class or at run time."""

from __future__ import annotations

from dspex_ray.schema.checking import Faults, check
from dspex_ray.schema.field_options import field
from dspex_ray.schema.inference import infer_schema
from dspex_ray.schema.json_form import DIALECTS, dialect_problems, json_schema
from dspex_ray.schema.literals import literal_fields, literal_options
from dspex_ray.schema.merge import merge_schemas
from dspex_ray.schema.ml_type_names import ML_TYPES
from dspex_ray.schema.ml_types.attention_weights import AttentionWeights
from dspex_ray.schema.ml_types.base import options
from dspex_ray.schema.ml_types.embedding import Embedding
from dspex_ray.schema.ml_types.image import Image, Picture
from dspex_ray.schema.ml_types.model_response import ModelResponse, ModelUsage
from dspex_ray.schema.ml_types.probability import ConfidenceScore, Probability
from dspex_ray.schema.ml_types.reasoning_chain import ReasoningChain, ReasoningStep
from dspex_ray.schema.ml_types.secret import Secret, plain_secrets, secret_fields
from dspex_ray.schema.ml_types.tensor import Tensor
from dspex_ray.schema.ml_types.token_list import TokenList
from dspex_ray.schema.ml_types.tool_call import ToolCall
from dspex_ray.schema.runtime_schema import make_schema
from dspex_ray.schema.schema import Schema, SchemaMeta
from dspex_ray.schema.steps import transform, validation
from dspex_ray.schema.tunable import tunable_fields

__all__ = [
    "DIALECTS",
    "ML_TYPES",
    "AttentionWeights",
    "ConfidenceScore",
    "Embedding",
    "Faults",
    "Image",
    "ModelResponse",
    "ModelUsage",
    "Picture",
    "Probability",
    "ReasoningChain",
    "ReasoningStep",
    "Schema",
    "SchemaMeta",
    "Secret",
    "Tensor",
    "TokenList",
    "ToolCall",
    "check",
    "dialect_problems",
    "field",
    "infer_schema",
    "json_schema",
    "literal_fields",
    "literal_options",
    "make_schema",
    "merge_schemas",
    "options",
    "plain_secrets",
    "secret_fields",
    "transform",
    "tunable_fields",
    "validation",
]
