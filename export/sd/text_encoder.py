"""The text encoders: token numbers to contexts, by the layer that each family was trained with."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from export.network import ExportedNetwork
from export.pretrained.specs import batched
from export.pretrained.text import TextTransformer


class LastContext(nn.Module):
    """Stable Diffusion 1 and 2: the last layer's features, normalized."""

    def __init__(self, text: TextTransformer) -> None:
        """Wrap a transformer."""
        super().__init__()
        self.text = text

    def forward(self, input_ids: Int[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
        """Return the context in float32."""
        return self.text.ln_final(self.text.features(input_ids)[1]).float()


class PenultimateContext(nn.Module):
    """Stable Diffusion XL: the features before the last layer, as they are, and the second encoder's pooled text."""

    def __init__(self, text: TextTransformer) -> None:
        """Wrap a transformer; with a projection it gives the pooled text too."""
        super().__init__()
        self.text = text

    def forward(
        self, input_ids: Int[Tensor, "B N"]
    ) -> Float[Tensor, "B N D"] | tuple[Float[Tensor, "B N D"], Float[Tensor, "B E"]]:
        """Return the context, and the pooled text where there is one, in float32."""
        before, last = self.text.features(input_ids)
        if self.text.text_projection is None:
            return before.float()
        return before.float(), self.text.pool(input_ids, last).float()


def make_network(
    role: str, text: TextTransformer, input_ids: Int[Tensor, "V N"], tokenizer: bytes, *, penultimate: bool
) -> ExportedNetwork:
    """Return a text encoder with its tokenizer.

    Args:
        role: `text_encoder` or `text_encoder_2`.
        text: with its weights.
        input_ids: of texts, to verify it with.
        tokenizer: content of tokenizer.json.
        penultimate: whether the context is taken before the last layer.
    """
    outputs: dict[str, tuple] = {"context": (text.config.length, text.config.width)}
    if penultimate and text.config.embedding:
        outputs["pooled"] = (text.config.embedding,)
    return ExportedNetwork(
        spec=batched(role, {"input_ids": (text.config.length, "int64")}, outputs),
        module=(PenultimateContext if penultimate else LastContext)(text),
        samples=(input_ids,),
        files={"tokenizer.json": tokenizer},
    )
