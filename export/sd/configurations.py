"""The published configurations of the families that can be exported, and small twins of the same structure.

The values are those of the `config.json` files of the models' repositories: stable-diffusion-v1-5, stable-diffusion-2-1
and its base, sd-turbo, stable-diffusion-xl-base-1.0 and sdxl-turbo. Defaults of diffusers are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Configuration = Mapping[str, Any]

SCHEDULE: Configuration = {
    "num_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
"""The noise schedule of every family here."""

TURBO_TIMES = (999, 749, 499, 249)
"""Times that a turbo model was distilled at, arXiv:2311.17042; it samples in at most so many steps."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The networks of a text-to-image model by their configurations, and how they are used together."""

    family: str
    """Name for messages: `sd15`, `sd21`, `sdxl` and so on."""
    unet: Configuration
    """Arguments of `diffusers.UNet2DConditionModel`."""
    vae: Configuration
    """Arguments of `diffusers.AutoencoderKL`, with its scaling_factor."""
    text_encoders: tuple[Configuration, ...]
    """One `CLIPTextConfig`, or the two of SDXL."""
    padding: tuple[str, ...]
    """Token that each tokenizer fills up with: Stable Diffusion 1 repeats the end, open_clip has the number 0."""
    prediction: str = "epsilon"
    """What the U-Net predicts."""
    schedule: Configuration = field(default_factory=lambda: SCHEDULE)
    """num_timesteps, beta_start, beta_end and beta_schedule."""
    zero_empty: bool = False
    """Whether the context of the empty prompt is all zeros."""
    sample_times: tuple[int, ...] = ()
    """The only times that the model samples at; none means all."""

    @property
    def image_size(self) -> int:
        """Height and width of the pictures, pixels."""
        return int(self.unet["sample_size"]) * self.latent_factor

    @property
    def latent_factor(self) -> int:
        """Pixels a side of one latent cell."""
        return 2 ** (len(self.vae["block_out_channels"]) - 1)

    @property
    def is_xl(self) -> bool:
        """Whether the U-Net also takes the pooled text and the picture's size."""
        return self.unet.get("addition_embed_type") == "text_time"


_DOWN, _UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

_UNET_15: Configuration = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": [_DOWN, _DOWN, _DOWN, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", _UP, _UP, _UP],
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
}
_UNET_21: Configuration = {
    **_UNET_15,
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
    "upcast_attention": True,
}
_UNET_XL: Configuration = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["DownBlock2D", _DOWN, _DOWN],
    "up_block_types": [_UP, _UP, "UpBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "norm_num_groups": 32,
}
_VAE: Configuration = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
_CLIP_L: Configuration = {
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
}
_CLIP_H: Configuration = {
    **_CLIP_L,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    # OpenCLIP's has 24; Stable Diffusion 2 was trained on the features before the last, so its weights end there.
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
}
_CLIP_BIG_G: Configuration = {
    **_CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
END, FIRST = "<|endoftext|>", "!"

_SD15 = Pipeline(family="sd15", unet=_UNET_15, vae=_VAE, text_encoders=(_CLIP_L,), padding=(END,))
_SD21 = Pipeline(
    family="sd21",
    unet=_UNET_21,
    vae=_VAE,
    text_encoders=(_CLIP_H,),
    padding=(FIRST,),
    prediction="v_prediction",
)
_SD21_BASE = replace(
    _SD21,
    family="sd21-base",
    unet={**_UNET_21, "sample_size": 64, "upcast_attention": False},
    prediction="epsilon",
)
_SDXL = Pipeline(
    family="sdxl",
    unet=_UNET_XL,
    vae={**_VAE, "scaling_factor": 0.13025},
    text_encoders=(_CLIP_L, _CLIP_BIG_G),
    padding=(END, FIRST),
    zero_empty=True,
)


def _small(pipeline: Pipeline) -> Pipeline:
    """Return a twin of the same structure, all but the vocabulary tiny, of 32-pixel pictures."""
    xl = pipeline.is_xl
    unet = {
        **pipeline.unet,
        "sample_size": 8,
        "down_block_types": ["DownBlock2D", _DOWN] if xl else [_DOWN, "DownBlock2D"],
        "up_block_types": [_UP, "UpBlock2D"] if xl else ["UpBlock2D", _UP],
        "block_out_channels": [16, 32],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": 48 if xl else 32,
        "attention_head_dim": [1, 2] if xl or not isinstance(pipeline.unet["attention_head_dim"], int) else 2,
    }
    if xl:
        unet |= {
            "transformer_layers_per_block": [1, 2],
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 32 + 6 * 8,
        }
    sizes = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    widths = (16, 32) if xl else (32,)
    texts = [{**c, **sizes, "hidden_size": w} for c, w in zip(pipeline.text_encoders, widths, strict=True)]
    if xl:
        texts[1]["projection_dim"] = 32
    vae = {
        **pipeline.vae,
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "block_out_channels": [8, 16, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }
    return replace(pipeline, family=f"tiny-{pipeline.family}", unet=unet, vae=vae, text_encoders=tuple(texts))


_FULL = (
    _SD15,
    _SD21,
    _SD21_BASE,
    replace(_SD21_BASE, family="sd-turbo", sample_times=TURBO_TIMES),
    _SDXL,
    replace(_SDXL, family="sdxl-turbo", unet={**_UNET_XL, "sample_size": 64}, sample_times=TURBO_TIMES),
)

PIPELINES: Mapping[str, Pipeline] = {p.family: p for p in (*_FULL, *map(_small, _FULL))}
"""Every pipeline that `random:` makes, by name; those that begin with `tiny-` are small twins."""
