"""The published sizes of open_clip's and timm's models, and where their weights are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from export.pretrained.text import TextConfig
from runtime.engines.twins.convnext import ConvNextConfig
from runtime.engines.twins.vit import VisionConfig

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Model:
    """An image encoder, and the text encoder that it was trained with."""

    vision: VisionConfig | ConvNextConfig
    """Sizes of the image encoder; `input_size` is set when a bundle is known."""
    text: TextConfig | None
    """Sizes of the text encoder; timm's models have none."""
    tags: Mapping[str, str]
    """Name on the hub for each name of weights."""
    half_tags: tuple[str, ...] = ()
    """Weights that were trained on pictures in [-1, 1]."""


def _vit(
    width: int, layers: int, heads: int, patch: int, embedding: int, text: tuple[int, int, int], **tags: str
) -> Model:
    return Model(
        vision=VisionConfig(
            input_size=224,
            patch_size=patch,
            width=width,
            layers=layers,
            heads=heads,
            mlp_width=4 * width,
            embedding=embedding,
        ),
        text=TextConfig(width=text[0], layers=text[1], heads=text[2], mlp_width=4 * text[0], embedding=embedding),
        tags=tags,
    )


_B32 = _vit(
    768, 12, 12, 32, 512, (512, 12, 8),
    laion2b_s34b_b79k="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    datacomp_xl_s13b_b90k="laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
)  # fmt: skip
_B16 = _vit(
    768, 12, 12, 16, 512, (512, 12, 8),
    laion2b_s34b_b88k="laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    datacomp_xl_s13b_b90k="laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
)  # fmt: skip
_L14 = replace(
    _vit(
        1024, 24, 16, 14, 768, (768, 12, 12),
        laion2b_s32b_b82k="laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        datacomp_xl_s13b_b90k="laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    ),
    half_tags=("laion2b_s32b_b82k",),
)  # fmt: skip
_H14 = _vit(1280, 32, 16, 14, 1024, (1024, 24, 16), laion2b_s32b_b79k="laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
_TINY = Model(
    vision=VisionConfig(
        input_size=32, image_size=32, patch_size=8, width=32, layers=2, heads=2, mlp_width=64, embedding=16
    ),
    text=TextConfig(width=32, layers=2, heads=2, mlp_width=64, embedding=16),
    tags={},
)


def _quick(model: Model, hub: str) -> Model:
    """Return OpenAI's own variant, with its activation and weights."""
    assert isinstance(model.vision, VisionConfig) and model.text is not None
    return replace(
        model,
        vision=replace(model.vision, activation="quick_gelu"),
        text=replace(model.text, activation="quick_gelu"),
        tags={"openai": hub},
        half_tags=(),
    )


CLIP_MODELS: Mapping[str, Model] = {
    "ViT-B-32": _B32,
    "ViT-B-32-quickgelu": _quick(_B32, "openai/clip-vit-base-patch32"),
    "ViT-B-16": _B16,
    "ViT-B-16-quickgelu": _quick(_B16, "openai/clip-vit-base-patch16"),
    "ViT-L-14": _L14,
    "ViT-L-14-quickgelu": _quick(_L14, "openai/clip-vit-large-patch14"),
    "ViT-H-14": _H14,
    "convnext_base_w": Model(
        vision=ConvNextConfig(input_size=256),
        text=TextConfig(width=640, layers=12, heads=10, mlp_width=2560, embedding=640),
        tags={"laion2b_s13b_b82k": "laion/CLIP-convnext_base_w-laion2B-s13B-b82K"},
    ),
    "tiny-clip": _TINY,
    "tiny-clip-convnext": replace(
        _TINY,
        vision=ConvNextConfig(input_size=64, image_size=64, depths=(1, 1), widths=(16, 32), embedding=16),
    ),
}
"""open_clip's models by its names, and small twins; -quickgelu has the activation that OpenAI's weights need."""


def _timm(width: int, layers: int, heads: int, patch: int) -> Model:
    vision = VisionConfig(
        input_size=224,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=4 * width,
        embedding=0,
        pre_norm=False,
        patch_bias=True,
        epsilon=1e-6,
        mean=HALF,
        std=HALF,
    )
    return Model(vision=vision, text=None, tags={})


TIMM_MODELS: Mapping[str, Model] = {
    "vit_tiny_patch16_224": _timm(192, 12, 3, 16),
    "vit_small_patch16_224": _timm(384, 12, 6, 16),
    "vit_small_patch32_224": _timm(384, 12, 6, 32),
    "vit_base_patch16_224": _timm(768, 12, 12, 16),
    "vit_base_patch32_224": _timm(768, 12, 12, 32),
    "vit_large_patch16_224": _timm(1024, 24, 16, 16),
    "tiny-vit": replace(
        _timm(32, 2, 2, 8),
        vision=replace(_timm(32, 2, 2, 8).vision, input_size=32, image_size=32),  # pyright: ignore
    ),
}
"""timm's image transformers by its names, and a small twin; their features are those in front of the classifier."""
