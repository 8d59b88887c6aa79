"""CLIP's image transformer in plain PyTorch, for the runs that need its gradient; its blocks serve text encoders too.

Arithmetic and parameter names are those of open_clip's `VisionTransformer`, so that weights load as they are and tests
hold the two equal. timm's image transformers are the same network without the first normalization and the
projection. Pictures are resized and normalized here, so that gradients reach the pixels that a scene renders.

Letters: B batch, N tokens, D width, E embedding, H W pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = ("gelu", "quick_gelu")
"""GELU, or x sigmoid(1.702 x), which OpenAI's own weights were trained with."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Sizes of a `VisionTransformer`."""

    input_size: int
    """Height and width of the pictures, pixels."""
    image_size: int = 224
    """Height and width to which they are resized."""
    patch_size: int = 16
    """Side of a patch, pixels."""
    width: int = 768
    """D, numbers of a token."""
    layers: int = 12
    """Transformer blocks."""
    heads: int = 12
    """Heads of an attention."""
    mlp_width: int = 3072
    """Width inside a block's perceptron."""
    embedding: int = 512
    """E; 0 means no projection, and an embedding of `width` numbers."""
    activation: str = "gelu"
    """One of `ACTIVATIONS`."""
    pre_norm: bool = True
    """Whether the tokens are normalized before the first block, as in CLIP."""
    patch_bias: bool = False
    """Whether the patches' convolution has a bias, as in timm."""
    epsilon: float = 1e-5
    """Added to the variance in every normalization."""
    mean: tuple[float, float, float] = CLIP_MEAN
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = CLIP_STD
    """The deviation that the difference is divided by."""

    def __post_init__(self) -> None:
        """Check the sizes; a `ValueError` names the field."""
        for name in ("input_size", "image_size", "patch_size", "width", "layers", "heads", "mlp_width"):
            if not 1 <= getattr(self, name) <= 16384:
                raise ValueError(f"{name}: expected 1 to 16384, got {getattr(self, name)}")
        if not 0 <= self.embedding <= 16384:
            raise ValueError(f"embedding: expected 0 to 16384, got {self.embedding}")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size: expected a multiple of patch_size {self.patch_size}, got {self.image_size}")
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of heads {self.heads}, got {self.width}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {self.activation!r:.60}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0.0:
            raise ValueError(f"mean, std: expected three numbers each, deviations above 0, got {self.mean}, {self.std}")


class VisionTransformer(nn.Module):
    """RGB in [0, 1] to embeddings of unit norm."""

    def __init__(self, config: VisionConfig) -> None:
        """Make the network; its parameters are to be loaded."""
        super().__init__()
        self.config = config
        width, cells = config.width, (config.image_size // config.patch_size) ** 2
        self.normalize = Normalize(config.input_size, config.image_size, config.mean, config.std)
        self.conv1 = nn.Conv2d(3, width, config.patch_size, config.patch_size, bias=config.patch_bias)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(cells + 1, width))
        self.ln_pre = nn.LayerNorm(width, config.epsilon) if config.pre_norm else nn.Identity()
        self.transformer = Transformer(
            width, config.layers, config.heads, config.mlp_width, config.activation, config.epsilon
        )
        self.ln_post = nn.LayerNorm(width, config.epsilon)
        self.proj = nn.Parameter(torch.zeros(width, config.embedding)) if config.embedding else None

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float32[Tensor, "B E"]:
        """Return embeddings of unit norm of RGB in [0, 1]."""
        pixels = self.normalize(images).to(self.conv1.weight.dtype)
        # With the convolution a step of ViT-L/14 took 250 ms in float16 on an H200, and 29 in bfloat16.
        patches = patches_by_products(pixels, self.conv1) if pixels.is_cuda else self.conv1(pixels)
        patches = patches.flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        tokens = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        pooled = self.ln_post(self.transformer(tokens)[:, 0])
        return unit(pooled if self.proj is None else pooled @ self.proj)


def patches_by_products(pixels: Float[Tensor, "B 3 H W"], conv: nn.Conv2d) -> Float[Tensor, "B D h w"]:
    """Return a convolution whose stride is its size: a product with the pixels of each patch."""
    size = conv.kernel_size[0]
    height, width = (side // size * size for side in pixels.shape[2:])  # a rest fills no patch
    patches = F.pixel_unshuffle(pixels[..., :height, :width], size).movedim(1, -1)
    return F.linear(patches, conv.weight.flatten(1), conv.bias).movedim(-1, 1)


class Normalize(nn.Module):
    """Pictures resized by antialiased bicubic interpolation, less a mean and over a deviation.

    The interpolation along one axis is a product with a fixed matrix, which every backend has and differentiates.
    """

    def __init__(
        self, input_size: int, image_size: int, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        """Make the matrices, which are not parameters and never on the meta device."""
        super().__init__()
        matrix = None if input_size == image_size else resize_matrix(input_size, image_size)
        # not persistent: the weights that are loaded have no such entry, and loading is strict
        self.register_buffer("matrix", matrix, persistent=False)
        # on the CPU even under the meta device: no file would fill them in
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        """Return pictures of `image_size`, normalized, of those of `input_size`."""
        if self.matrix is not None:
            images = self.matrix @ images @ self.matrix.T  # pyright: ignore
        return (images - self.mean) / self.std  # pyright: ignore


def resize_matrix(source: int, target: int) -> Float[Tensor, "{target} {source}"]:
    """Return the matrix of antialiased bicubic interpolation along one axis."""
    # the interpolation is linear, so that resizing the identity along one axis gives its matrix
    rows = torch.eye(source, device="cpu")[None, None]
    return F.interpolate(rows, (target, source), mode="bicubic", antialias=True)[0, 0]


def unit(embedding: Float[Tensor, "*shape E"]) -> Float32[Tensor, "*shape E"]:
    """Return float32 vectors of unit norm along the last axis."""
    # squares overflow float16 from 256 on
    wide = embedding.float()
    # clamped before the root, whose derivative is infinite at 0; far below the norm of any real embedding
    return wide / wide.square().sum(-1, keepdim=True).clamp_min(1e-24).sqrt()


class Transformer(nn.Module):
    """Blocks of attention and perceptron, each behind a normalization and beside a shortcut."""

    def __init__(self, width: int, layers: int, heads: int, mlp_width: int, activation: str, epsilon: float) -> None:
        """Make the blocks."""
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads, mlp_width, activation, epsilon) for _ in range(layers))

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "N N"] | None = None) -> Float[Tensor, "B N D"]:
        """Return the tokens after all blocks; `mask`, in float32, is added to the scores."""
        for block in self.resblocks:
            x = block(x, mask)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, mlp_width: int, activation: str, epsilon: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, epsilon)
        self.attn = _Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width, epsilon)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, mlp_width), "c_proj": nn.Linear(mlp_width, width)})
        self.activation = activation

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "N N"] | None) -> Float[Tensor, "B N D"]:
        x = x + self.attn(self.ln_1(x), mask)
        hidden = self.mlp["c_fc"](self.ln_2(x))
        hidden = F.gelu(hidden) if self.activation == "gelu" else hidden * torch.sigmoid(1.702 * hidden)
        return x + self.mlp["c_proj"](hidden)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        # packed as in torch.nn.MultiheadAttention, so that open_clip's weights load as they are
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "N N"] | None) -> Float[Tensor, "B N D"]:
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        # half precision gets a softmax in float32, which fused attention does not promise on every backend
        if x.dtype == torch.float32:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            mixed = attend(query, key, value, mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def attend(
    query: Float[Tensor, "B heads N d"],
    key: Float[Tensor, "B heads M d"],
    value: Float[Tensor, "B heads M d"],
    mask: Float[Tensor, "N M"] | None = None,
    *,
    upcast: bool = False,
) -> Float[Tensor, "B heads N d"]:
    """Return softmax(q k^T / sqrt(d) + mask) v, with the softmax in float32 whatever the type.

    Args:
        query: q, for each head.
        key: k, likewise.
        value: v, likewise.
        mask: in float32, added to the scores.
        upcast: whether the scores are products in float32 too (Stable Diffusion 2.1 overflows in float16).
    """
    # scaled before the product, which could overflow float16 otherwise
    query = query * query.shape[-1] ** -0.5
    if upcast:
        query, key = query.float(), key.float()
    scores = (query @ key.transpose(-1, -2)).float()
    shares = torch.softmax(scores if mask is None else scores + mask, -1)
    return shares.to(value.dtype) @ value
