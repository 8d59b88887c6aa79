"""The two precisions of a network: what its weights are stored in, and what its products are computed in."""

from enum import StrEnum


class Storage(StrEnum):
    """How the weights of a model are stored; they are float32 again before anything is computed with them."""

    FLOAT32 = "float32"
    """As they were trained."""
    FLOAT16 = "float16"
    """Rounded to half precision."""
    INT8 = "int8"
    """Quantized, with a float32 scale for each output channel."""


class Compute(StrEnum):
    """What the products of a network are computed in; norms and softmax stay in float32."""

    MODEL = "model"
    """As the model says: float32, unless it was exported in half precision."""
    TF32 = "tf32"
    """As the model says, but with TF32 in float32 products."""
    FP16 = "fp16"
    """In float16: more bits, and numbers up to 65,504."""
    BF16 = "bf16"
    """In bfloat16: fewer bits, and the range of float32."""
