"""Judges of drawings, none of which has guided them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from runtime.command.outputs import digest_of
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.bundle import DiffusionBundle

HEADS_SIDE = 128
"""Side of the pictures that the five heads have seen."""


class Judge(Protocol):
    """What gives a drawing a number for each caption."""

    name: str
    """What tells it from other judges: stored with every record."""

    def __call__(self, picture: Float[Tensor, "3 H W"], captions: Sequence[str]) -> list[float]:
        """Return the cosine of a picture, RGB on white, with each caption."""
        ...


def networks_of(bundle: "DiffusionBundle") -> set[str]:
    """Return the hashes of the files of a bundle's image encoder; empty where it has none."""
    spec = bundle.specs.get("image_embedder")
    return set() if spec is None else {file.sha256 for file in spec.files.values()}


def load_judge(text: str, guide: "DiffusionBundle") -> Judge:
    """Return the judge that `BUNDLE` or `BUNDLE:HEADS.safetensors` names.

    Args:
        text: what the user has typed.
        guide: the bundle that draws; its own image encoder ranks samples and guides CLIPDraw.

    Raises:
        UserError: there is no such judge, or it is the guide itself.
    """
    from runtime.engines.bundle import DiffusionBundle

    name, colon, file = text.partition(":")
    if colon:
        return HeadsJudge(name, Path(file))
    bundle = DiffusionBundle.load(name)
    bundle.scorer()
    if networks_of(bundle) & networks_of(guide):
        raise UserError(
            f"--judge '{text}': expected another image encoder than that of the bundle '{guide.name}', which selects "
            "and guides what is judged; its figures would be too good. Give another bundle, or the five heads as "
            "BUNDLE:FILE"
        )
    return EncoderJudge(bundle)


class _Sentences:
    """Vectors of the captions, computed once for all pictures."""

    def __init__(self, embed: Callable[[list[str]], Tensor]) -> None:
        self._embed = embed
        self._captions: tuple[str, ...] = ()
        self._vectors = torch.empty(0)

    def of(self, captions: Sequence[str]) -> Float[Tensor, "C E"]:
        """Return the vectors, as `embed` gives them."""
        if self._captions != tuple(captions):
            self._captions, self._vectors = tuple(captions), self._embed(list(captions))
        return self._vectors


class EncoderJudge:
    """The image-text encoder of a bundle, such as CLIP ViT-L/14."""

    def __init__(self, bundle: "DiffusionBundle") -> None:
        """Wrap a bundle."""
        self.bundle = bundle
        self.name = f"{bundle.name} {bundle.digest[:12]}"
        self._scorer: Any = bundle.scorer()
        self._encode = bundle.image_encoder("none")
        self._sentences = _Sentences(lambda captions: torch.cat([self._embed(caption) for caption in captions]))

    def __call__(self, picture: Float[Tensor, "3 H W"], captions: Sequence[str]) -> list[float]:
        """Return the cosines; a caption that is too long for the encoder loses its last words."""
        side = self.bundle.embedder_size
        resized = functional.interpolate(picture[None], (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        with torch.no_grad():
            sentences = functional.normalize(self._sentences.of(captions))
            return (functional.normalize(self._encode(resized)) @ sentences.T)[0].tolist()

    def _embed(self, caption: str) -> Float[Tensor, "1 E"]:
        try:
            return self._scorer.embed([caption])
        except UserError:
            shorter = caption.rpartition(" ")[0]
            if not shorter:
                raise
            return self._embed(shorter)


class HeadsJudge:
    """The five heads of `benchmarks.consistency.evaluator` over ImageNet features; they share nothing with a bundle
    but the sentences of its text encoder.
    """

    def __init__(self, bundle_name: str, file: Path) -> None:
        """Load the backbone and the heads.

        Raises:
            UserError: the file is missing or holds something else, or the backbone's package is not installed.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from benchmarks.consistency.evaluator import Committee, find_lite0, load_backbone
        from benchmarks.consistency.measure import sentence_encoder

        if not file.is_file():
            raise UserError(
                f"--judge '{file}': expected the file evaluator.safetensors that python -m benchmarks.consistency "
                "writes into its --out, got none"
            )
        self.name = f"{file.name} {digest_of(file)[:12]}"
        self._heads = Committee()
        try:
            self._heads.load_state_dict(load_file(file))
            self._backbone = load_backbone(find_lite0())
        except (SafetensorError, RuntimeError, FileNotFoundError) as error:
            raise UserError(f"--judge '{file}': {' '.join(str(error).split()):.300}") from error
        self._heads.eval()
        self._sentences = _Sentences(sentence_encoder(bundle_name))

    def __call__(self, picture: Float[Tensor, "3 H W"], captions: Sequence[str]) -> list[float]:
        """Return the mean cosine of the heads."""
        from benchmarks.consistency.evaluator import features_of

        small = functional.interpolate(picture[None], (HEADS_SIDE, HEADS_SIDE), mode="area")
        with torch.no_grad():
            return self._heads(features_of(self._backbone, small), self._sentences.of(captions))[0].tolist()


class AestheticsHead:
    """The LAION aesthetics head, linear layers on CLIP ViT-L/14's unit embedding: one score, about 1 to 10."""

    def __init__(self, text: str) -> None:
        """Load `BUNDLE:HEAD.safetensors`.

        The published head has layers without a nonlinearity between them; they are applied in the order of their
        numbers.

        Raises:
            UserError: there is no such bundle or file, or the layers do not fit the embedding.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from runtime.engines.bundle import DiffusionBundle

        name, colon, file = text.partition(":")
        if not colon or not Path(file).is_file():
            raise UserError(f"--aesthetics '{text}': expected BUNDLE:HEAD.safetensors, got no such file")
        self.bundle = DiffusionBundle.load(name)
        self._encode = self.bundle.image_encoder("none")
        try:
            tensors = load_file(file)
        except SafetensorError as error:
            raise UserError(f"--aesthetics '{file}': expected a safetensors file ({error})") from error
        self.name = f"{Path(file).name} {digest_of(Path(file))[:12]} on {self.bundle.digest[:12]}"
        names = sorted((n for n in tensors if n.endswith("weight")), key=_layer_number)
        self._layers = [(tensors[n], tensors[n.removesuffix("weight") + "bias"]) for n in names]
        width = self.bundle.specs["image_embedder"].outputs[0].shape[-1]
        if not self._layers or self._layers[0][0].shape[-1] != width or self._layers[-1][0].shape[0] != 1:
            raise UserError(f"--aesthetics '{file}': expected linear layers from {width} numbers to one")

    def __call__(self, picture: Float[Tensor, "3 H W"], captions: Sequence[str]) -> list[float]:
        """Return the one score of a picture; captions do not matter."""
        side = self.bundle.embedder_size
        resized = functional.interpolate(picture[None], (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        with torch.no_grad():
            x = functional.normalize(self._encode(resized).float(), dim=-1)
            for weight, bias in self._layers:
                x = functional.linear(x, weight.float(), bias.float())
        return [float(x)]


def _layer_number(name: str) -> tuple[int, ...]:
    """Return the numbers in a layer's name: "layers.10.weight" comes after "layers.2.weight"."""
    return tuple(int(part) for part in name.split(".") if part.isdigit())
