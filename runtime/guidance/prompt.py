"""A prompt as a denoiser reads it: styled once, encoded once, and chosen by view where a scene has several.

Notation: V texts of one prompt (one, or one for each view, such as "a chair, back view"), N tokens, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.engines.protocols import TextEncoder


@dataclass(frozen=True)
class Negatives:
    """What pictures should not show, for Perp-Neg; see `sds.perpendicular_noise`."""

    context: Float[Tensor, "V M N D"]
    """What the denoiser reads of the M negative texts of each picture."""
    weights: Float[Tensor, "V M"]
    """How much each counts, at least 0."""


@dataclass(frozen=True)
class Prompt:
    """One or several texts of a prompt, encoded."""

    texts: tuple[str, ...]
    """The texts, as they were encoded."""
    context: Float[Tensor, "V N D"]
    """What the denoiser reads of each text."""
    empty: Float[Tensor, "U N D"]
    """What it reads of the empty text, the unconditional one: one for all, or one for each where cameras differ."""
    negatives: Negatives | None = None
    """What each of the V pictures should not show."""

    @classmethod
    def encode(cls, texts: str | Sequence[str], encoder: TextEncoder) -> "Prompt":
        """Return the encoding of a text, or of one text for each view, from one call of the encoder."""
        several = (texts,) if isinstance(texts, str) else tuple(texts)
        with torch.no_grad():
            # The empty text rides along: one call of the network where a run would otherwise pay for two.
            encoded = encoder([*several, ""])
        return cls(several, encoded[:-1], encoded[-1:])

    def to(self, device: str | torch.device) -> "Prompt":
        """Return the prompt with its encodings on a device."""
        negatives = self.negatives and Negatives(self.negatives.context.to(device), self.negatives.weights.to(device))
        return Prompt(self.texts, self.context.to(device), self.empty.to(device), negatives)

    def at(self, views: Int64[Tensor, " B"]) -> "Prompt":
        """Return the prompt of a batch of pictures, each of which is seen from one of the V views."""
        chosen = tuple(self.texts[view] for view in views.tolist())
        return Prompt(chosen, self.context[views], self.empty)

    def mixed(self, weights: Float[Tensor, "B V"]) -> "Prompt":
        """Return the prompt of a batch of pictures, each of a weighted sum of the V texts' contexts.

        The text of a picture is the one that weighs most.
        """
        named = tuple(self.texts[view] for view in weights.argmax(1).tolist())
        return Prompt(named, torch.einsum("bv,vnd->bnd", weights, self.context), self.empty)

    def conditional(self, count: int) -> Float[Tensor, "{count} N D"]:
        """Return the text's context for each picture of a batch."""
        return self.context.expand(count, -1, -1)

    def pair(self, count: int) -> Float[Tensor, "2*{count} N D"]:
        """Return the contexts of a guided batch: the text's, then the empty text's."""
        return torch.cat([self.conditional(count), self.empty.expand(count, -1, -1)])


def styled(prompt: str, suffix: str, fits: Callable[[str], bool]) -> str:
    """Return a prompt with a suffix that names a style, as the thesis' prompts have (6.4.1).

    A prompt stays as it is where it has a comma, behind which it names a style of its own, and where there is no room
    for the suffix.

    Args:
        prompt: what to draw.
        suffix: such as ", soft shaded icon"; may be empty.
        fits: whether the text encoder takes a text as it is.
    """
    if "," in prompt or not fits(prompt + suffix):
        return prompt
    return prompt + suffix


def encode_prompt(text: str, suffix: str, encoder: TextEncoder, views: Sequence[str] = ()) -> Prompt:
    """Return a prompt in a bundle's style, encoded; arguments as of `styled`.

    Args:
        text: what to draw.
        suffix: of the style.
        encoder: of texts.
        views: such as "back view"; each makes a text of its own, with the view between what to draw and the style.

    Raises:
        UserError: the prompt has more tokens than the text encoder takes.
    """
    if not views:
        return Prompt.encode(styled(text, suffix, encoder.fits), encoder)
    # All texts have the style or none has: they should differ by the view alone.
    ending = styled(text, suffix, lambda whole: all(encoder.fits(f"{whole}, {view}") for view in views))[len(text) :]
    return Prompt.encode([f"{text}, {view}{ending}" for view in views], encoder)
