"""The text encoder: tokens and their mask to the context; its weights are codes in groups, its tokenizer a file."""

from export.icons.weights import Weights
from export.network import ExportedNetwork, batched
from runtime.engines.precision import Storage
from train.latent_diffusion.text import LENGTH, WIDTH


def make_network(weights: Weights) -> ExportedNetwork:
    """Return the whole encoder, padding and pooling included; what is not in groups stays float32."""
    return ExportedNetwork(
        spec=batched(
            "text_encoder",
            {"input_ids": (LENGTH, "int64"), "attention_mask": (LENGTH, "int64")},
            {"context": (1 + LENGTH, WIDTH)},
        ),
        module=weights.text_encoder,
        samples=(weights.input_ids, weights.attention_mask),
        storage=Storage.FLOAT32,
        groups=weights.text_groups,
        files={"tokenizer.json": weights.tokenizer},
    )
