"""How a network's weights are stored, and what its products are computed in: the words of every room for both."""

from enum import StrEnum


class Storage(StrEnum):
    """How a network's weights are stored."""

    FLOAT32 = "float32"
    """As trained."""
    FLOAT16 = "float16"
    """Rounded to IEEE half precision."""
    BFLOAT16 = "bfloat16"
    """Rounded to the upper half of a float32."""
    INT8 = "int8"
    """Codes of 8 bits or fewer, with a step for each output channel or group."""


class Compute(StrEnum):
    """What convolutions and matrix products are computed in; normalizations and softmax stay in float32."""

    MODEL = "model"
    """As the model's own graph says, without TF32."""
    TF32 = "tf32"
    """The same, but with TF32 in float32 products."""
    FP16 = "fp16"
    """IEEE half precision."""
    BF16 = "bf16"
    """The upper half of a float32."""
