"""The judge: which prompt a view fits best, and from which side it is seen. It shares no image weights with a guide."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.consistency.evaluator import Committee, features_of, find_lite0, load_backbone
from benchmarks.consistency.measure import sentence_encoder
from benchmarks.text_to_3d.training import JUDGE_SIDE, VIEW_SIDE, Encode, SideCommittee, train_judge
from runtime.command.outputs import digest_of
from runtime.errors import UserError

SENTENCES = "icons"
"""Bundle whose text encoder makes the sentence vectors."""


class Judge:
    """Heads on frozen ImageNet features."""

    def __init__(self, name: str, tensors: dict[str, Tensor], held_out: Any, backbone: nn.Module, encode: Encode):
        """Put trained heads together.

        Args:
            name: what tells this judge from others: stored with every record.
            tensors: of the heads, as `train_judge` writes them.
            held_out: its figures on what it has not seen.
            backbone: of the features.
            encode: sentences to vectors.
        """
        self.name, self.held_out = name, held_out
        self._backbone, self._encode = backbone, encode
        self._captions, self._sides = Committee(), SideCommittee()
        for prefix, module in (("captions.", self._captions), ("sides.", self._sides)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
            module.eval()

    def _features(self, pictures: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V 1280"]:
        small = functional.interpolate(pictures, size=(VIEW_SIDE, VIEW_SIDE), mode="area")
        return features_of(self._backbone, small, side=JUDGE_SIDE)

    @torch.no_grad()
    def similarities(self, pictures: Float[Tensor, "V 3 H W"], captions: Sequence[str]) -> list[list[float]]:
        """Return the mean cosine of the heads, of each picture with each caption."""
        cosines = self._captions(self._features(pictures), self._encode(list(captions)))
        return [[round(value, 5) for value in row] for row in cosines.tolist()]

    @torch.no_grad()
    def sides(self, pictures: Float[Tensor, "V 3 H W"], prompt: str) -> list[int]:
        """Return what each picture is taken for: 0 the front, 1 a side, 2 the back."""
        sentence = self._encode([prompt]).expand(len(pictures), -1)
        return self._sides(self._features(pictures), sentence).argmax(1).tolist()


def load_judge(path: Path, data: Path | None = None, icons: Path | None = None) -> Judge:
    """Return the judge in a file; it is trained where the file is missing.

    Args:
        path: safetensors file.
        data: folder of the set of objects, for the training.
        icons: archive of train.data.icons, for the training.

    Raises:
        UserError: there is no file and no set, the file is another one, or the backbone's package is not installed.
    """
    from safetensors import SafetensorError, safe_open

    encode = sentence_encoder(SENTENCES)
    try:
        backbone = load_backbone(find_lite0())
    except (FileNotFoundError, ImportError) as error:
        raise UserError(f"--judge: {error}") from error
    if not path.is_file():
        if data is None:
            raise UserError(f"--judge '{path}': expected a judge, got none; give --data to train one")
        train_judge(path, data, icons, backbone, encode)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            held_out = json.loads((file.metadata() or {})["held_out"])
        return Judge(f"{path.name} {digest_of(path)[:12]}", tensors, held_out, backbone, encode)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise UserError(f"--judge '{path}': expected a judge of this command ({error!s:.200})") from error
