"""CLIP's text transformer, with open_clip's parameter names; Stable Diffusion's text encoders are the same network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from runtime.engines.twins.vit import Transformer, unit

HIDDEN = -30000.0
"""Added to the score of a later token; float16 holds it, and its share of a softmax is 0."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Sizes of a `TextTransformer`."""

    vocabulary: int = 49408
    """Rows of the table of tokens."""
    length: int = 77
    """N: tokens of a text, the marks at both ends included."""
    width: int = 512
    """D."""
    layers: int = 12
    """Transformer blocks."""
    heads: int = 8
    """Heads of an attention."""
    mlp_width: int = 2048
    """Width inside a block's perceptron."""
    embedding: int = 0
    """E of the projection; 0 is none."""
    activation: str = "gelu"
    """One of `runtime.engines.twins.vit.ACTIVATIONS`."""

    @classmethod
    def of_transformers(cls, configuration: Mapping[str, Any], *, project: bool) -> "TextConfig":
        """Return the sizes in the config.json of a `CLIPTextModel`; `project` says whether it has a projection."""
        return cls(
            vocabulary=configuration.get("vocab_size", 49408),
            length=configuration.get("max_position_embeddings", 77),
            width=configuration.get("hidden_size", 512),
            layers=configuration.get("num_hidden_layers", 12),
            heads=configuration.get("num_attention_heads", 8),
            mlp_width=configuration.get("intermediate_size", 2048),
            embedding=configuration.get("projection_dim", 512) if project else 0,
            activation=configuration.get("hidden_act", "quick_gelu"),
        )


class TextTransformer(nn.Module):
    """Token numbers to features of every token, and of the text."""

    def __init__(self, config: TextConfig) -> None:
        """Make the network; its parameters are to be loaded."""
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.length, config.width))
        self.transformer = Transformer(
            config.width, config.layers, config.heads, config.mlp_width, config.activation, 1e-5
        )
        self.ln_final = nn.LayerNorm(config.width)
        self.text_projection = nn.Parameter(torch.zeros(config.width, config.embedding)) if config.embedding else None
        later = torch.full((config.length, config.length), HIDDEN, device="cpu").triu(1)
        # Not persistent, as no published weights hold it; on the CPU even where parameters are on the meta device.
        self.register_buffer("mask", later, persistent=False)

    def features(self, input_ids: Int[Tensor, "B N"]) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B N D"]]:
        """Return the tokens' features before the last block and behind it, not normalized."""
        x = self.token_embedding(input_ids) + self.positional_embedding
        blocks = list(self.transformer.resblocks)
        for block in blocks[:-1]:
            x = block(x, self.mask)
        return x, blocks[-1](x, self.mask)

    def pool(self, input_ids: Int[Tensor, "B N"], last: Float[Tensor, "B N D"]) -> Float[Tensor, "B E"]:
        """Return the text's features: those of the first end mark, whose number is the greatest, projected."""
        # argmax takes the first of equal ones, which matters where a text is filled up with end marks.
        end = input_ids.argmax(-1)
        # Gathered before the normalization: that is by token, and 76 of 77 would be thrown away.
        chosen = torch.gather(last, 1, end[:, None, None].expand(-1, 1, last.shape[2]))[:, 0]
        pooled = self.ln_final(chosen)
        return pooled if self.text_projection is None else pooled @ self.text_projection


class TextEmbedder(nn.Module):
    """Token numbers to embeddings of unit norm: CLIP's text encoder."""

    def __init__(self, text: TextTransformer) -> None:
        """Wrap a transformer."""
        super().__init__()
        self.text = text

    def forward(self, input_ids: Int[Tensor, "B N"]) -> Float[Tensor, "B E"]:
        """Return embeddings in float32."""
        return unit(self.text.pool(input_ids, self.text.features(input_ids)[1]))
