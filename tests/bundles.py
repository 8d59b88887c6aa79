"""A tiny random bundle with the whole contract of `icons`, made in well under a second, for any test that needs one.

128-pixel pictures, 16x16x4 latents, 16 tokens, width 384; the networks are a layer or two. Words of `WORDS` are one
token each, every other word is `[UNK]`. The graphs are written node by node, so no exporter is needed.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from export.write.bundle import write_bundle
from export.write.network import NetworkFiles
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.spec import EngineSpec, TensorSpec
from runtime.engines.twins.kl_encoder import KLEncoder, KLEncoderConfig

_TEXT = (
    "a an the of on in with and red green blue yellow black white orange purple apple cat dog fire truck rocket slice "
    "pizza tree heart robot car panda flower icon flat emoji sun moon star house fish bird boat"
)
WORDS = tuple(_TEXT.split())
"""The tiny tokenizer's vocabulary, after the special tokens."""

WIDTH = 384
"""Width of a token of the context."""

EMBEDDING = 8
"""Width of the tiny dual encoder."""

KL_CONFIG = {
    "in_channels": 48,
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
    "unshuffle": 4,
    "latent_scale": 0.5,
}
"""Arguments of the tiny latent encoder."""

MANIFEST = DiffusionManifest(
    name="tiny",
    version="0",
    licence="Apache-2.0",
    provenance="Random weights for tests.",
    schedule={
        "num_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    },
    latent_scale=0.5,
    latent_shape=(4, 16, 16),
    image_size=128,
    text_length=16,
    prompt_suffix="",
    defaults={"vectorfusion": {"omega": 4.0}},
)
"""Everything of the tiny bundle's bundle.json but its networks."""

BATCH = (1, 2, 256)
"""Range of the batch."""


class Graph:
    """A few ONNX nodes being put together; each method returns the name of its result."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: object, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def draw(self, *shape: int, scale: float) -> str:
        return self.constant(self.random.normal(size=shape) * scale)

    def model(self, spec: EngineSpec, *results: str) -> bytes:
        for given, result in zip(spec.outputs, results, strict=True):
            self.nodes.append(helper.make_node("Identity", [result], [given.name]))
        graph = helper.make_graph(self.nodes, spec.name, _infos(spec.inputs), _infos(spec.outputs), self.weights)
        opset = [helper.make_opsetid("", 21)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def _infos(tensors: tuple[TensorSpec, ...]) -> list[onnx.ValueInfoProto]:
    types = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}
    return [helper.make_tensor_value_info(t.name, types[t.dtype], list(t.shape)) for t in tensors]


def make_spec(name: str, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> EngineSpec:
    """Return a spec of float32 tensors with a free batch; the names of token numbers and steps are int64."""
    whole = ("input_ids", "attention_mask", "timestep")

    def tensors(shapes: dict[str, tuple]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(n, ("B", *s), "int64" if n in whole else "float32") for n, s in shapes.items())

    return EngineSpec(name, tensors(inputs), tensors(outputs), {"B": BATCH})


SPECS = {
    "text_encoder": make_spec("text_encoder", {"input_ids": (16,), "attention_mask": (16,)}, {"context": (17, WIDTH)}),
    "denoiser": make_spec(
        "denoiser", {"sample": (4, 16, 16), "timestep": (), "context": (17, WIDTH)}, {"epsilon": (4, 16, 16)}
    ),
    "latent_encoder": make_spec("latent_encoder", {"images": (3, 128, 128)}, {"latents": (4, 16, 16)}),
    "latent_decoder": make_spec("latent_decoder", {"latents": (4, 16, 16)}, {"images": (3, 128, 128)}),
    "image_embedder": make_spec("image_embedder", {"images": (3, 128, 128)}, {"embedding": (EMBEDDING,)}),
    "text_embedder": make_spec("text_embedder", {"context": (17, WIDTH)}, {"embedding": (EMBEDDING,)}),
}
"""Spec of each role, with the names and shapes of `icons`."""


def make_tokenizer() -> bytes:
    """Return a tokenizer.json of lower-case words between [CLS] and [SEP]."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer.to_str().encode()


def make_text_encoder(seed: int) -> bytes:
    """Return a model that looks tokens up; token 0 of the context is their masked mean, scaled to norm sqrt(384)."""
    g = Graph(seed)
    mask = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=TensorProto.FLOAT), g.constant([2], np.int64))
    states = g.op("Mul", g.op("Gather", g.draw(4 + len(WORDS), WIDTH, scale=1.0), "input_ids"), mask)
    pooled = g.op("ReduceSum", states, g.constant([1], np.int64), keepdims=1)
    norm = g.op("ReduceL2", pooled, g.constant([2], np.int64), keepdims=1)
    pooled = g.op("Mul", g.op("Div", pooled, norm), g.constant(WIDTH**0.5))
    return g.model(SPECS["text_encoder"], g.op("Concat", pooled, states, axis=1))


def make_denoiser(seed: int, spec: EngineSpec = SPECS["denoiser"]) -> bytes:
    """Return a model of two convolutions whose middle is shifted by the step and the mean of the context."""
    g, channels = Graph(seed), int(spec.inputs[0].shape[1])
    hidden = g.op("Conv", "sample", g.draw(8, channels, 3, 3, scale=0.2), g.draw(8, scale=0.1), pads=[1, 1, 1, 1])
    time = g.op("Unsqueeze", g.op("Cast", "timestep", to=TensorProto.FLOAT), g.constant([1], np.int64))
    time = g.op("Sin", g.op("Mul", time, g.constant(0.001 * 2.0 ** np.arange(8))))
    text = g.op(
        "MatMul", g.op("ReduceMean", "context", g.constant([1], np.int64), keepdims=0), g.draw(384, 8, scale=0.1)
    )
    shift = g.op("Unsqueeze", g.op("Add", time, text), g.constant([2, 3], np.int64))
    hidden = g.op("Tanh", g.op("Add", hidden, shift))
    return g.model(spec, g.op("Conv", hidden, g.draw(channels, 8, 3, 3, scale=0.2), pads=[1, 1, 1, 1]))


def make_latent_decoder(seed: int) -> bytes:
    """Return a model of one convolution and a pixel-shuffle by 8, around mid grey."""
    g = Graph(seed)
    hidden = g.op("Conv", "latents", g.draw(192, 4, 3, 3, scale=0.1), g.draw(192, scale=0.1), pads=[1, 1, 1, 1])
    hidden = g.op("DepthToSpace", hidden, blocksize=8, mode="CRD")
    return g.model(SPECS["latent_decoder"], g.op("Add", hidden, g.constant(0.5)))


def make_image_embedder(seed: int) -> bytes:
    """Return a model of 16-pixel averages and one product, of unit norm."""
    g = Graph(seed)
    cells = g.op("Flatten", g.op("AveragePool", "images", kernel_shape=[16, 16], strides=[16, 16]), axis=1)
    embedding = g.op("MatMul", cells, g.draw(192, EMBEDDING, scale=1.0))
    return g.model(SPECS["image_embedder"], g.op("LpNormalization", embedding, axis=1))


def make_text_embedder(seed: int) -> bytes:
    """Return a model of one product of the context's token 0, of unit norm."""
    g = Graph(seed)
    pooled = g.op("Gather", "context", g.constant(0, np.int64), axis=1)
    embedding = g.op("MatMul", pooled, g.draw(WIDTH, EMBEDDING, scale=0.05))
    return g.model(SPECS["text_embedder"], g.op("LpNormalization", embedding, axis=1))


def make_latent_encoder_module(seed: int) -> KLEncoder:
    """Return the tiny latent encoder with random weights, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths = tuple(KL_CONFIG["block_out_channels"])
        module = KLEncoder(KLEncoderConfig(**{**KL_CONFIG, "block_out_channels": widths}))
    return module.eval().requires_grad_(False)


def make_latent_encoder(module: KLEncoder) -> bytes:
    """Return the model of a tiny latent encoder without attention, node by node after its PyTorch twin."""
    g, encoder = Graph(0), module.encoder

    def conv(x: str, layer: torch.nn.Conv2d, pads: int | list[int] = 1) -> str:
        pads = [pads] * 4 if isinstance(pads, int) else pads
        weights = (g.constant(layer.weight.numpy()), g.constant(layer.bias.numpy()))
        return g.op("Conv", x, *weights, pads=pads, strides=list(layer.stride))

    def norm(x: str, layer: torch.nn.GroupNorm) -> str:
        weights = (g.constant(layer.weight.numpy()), g.constant(layer.bias.numpy()))
        y = g.op("GroupNormalization", x, *weights, num_groups=layer.num_groups, epsilon=layer.eps)
        return g.op("Mul", y, g.op("Sigmoid", y))

    def residual(x: str, block: torch.nn.Module) -> str:
        y = conv(norm(conv(norm(x, block.norm1), block.conv1), block.norm2), block.conv2)
        return g.op("Add", y, x if block.conv_shortcut is None else conv(x, block.conv_shortcut, 0))

    x = g.op("Sub", g.op("Mul", "images", g.constant(2.0)), g.constant(1.0))
    cells = g.op("Reshape", x, g.constant([0, 3, 32, 4, 32, 4], np.int64))
    cells = g.op("Transpose", cells, perm=[0, 1, 3, 5, 2, 4])
    x = conv(g.op("Reshape", cells, g.constant([0, 48, 32, 32], np.int64)), encoder.conv_in)
    for level in encoder.down_blocks:
        for block in level.resnets:
            x = residual(x, block)
        for block in level.downsamplers:
            x = conv(x, block.conv, [0, 0, 1, 1])
    for block in encoder.mid_block.resnets:
        x = residual(x, block)
    x = conv(conv(norm(x, encoder.conv_norm_out), encoder.conv_out), module.quant_conv, 0)
    mean = g.op("Slice", x, g.constant([0], np.int64), g.constant([4], np.int64), g.constant([1], np.int64))
    return g.model(SPECS["latent_encoder"], g.op("Mul", mean, g.constant(module.config.latent_scale)))


def make_tiny_bundle(folder: Path, *, name: str = "tiny", seed: int = 0) -> Path:
    """Write a tiny random bundle with every role of `icons` and return its folder.

    Args:
        folder: where the bundle goes; its bundle.json will be `folder / "bundle.json"`.
        name: the bundle's name.
        seed: seed of the weights.
    """
    encoder = make_latent_encoder_module(seed)
    config = json.dumps({"class": "KLEncoder", "arguments": KL_CONFIG}).encode()
    files = {
        "text_encoder": {"model.onnx": make_text_encoder(seed), "tokenizer.json": make_tokenizer()},
        "denoiser": {"model.onnx": make_denoiser(seed)},
        "latent_encoder": {
            "model.onnx": make_latent_encoder(encoder),
            "config.json": config,
            "weights.safetensors": save(encoder.state_dict()),
        },
        "latent_decoder": {"model.onnx": make_latent_decoder(seed)},
        "image_embedder": {"model.onnx": make_image_embedder(seed)},
        "text_embedder": {"model.onnx": make_text_embedder(seed)},
    }
    networks = {role: NetworkFiles(SPECS[role], content) for role, content in files.items()}
    manifest = DiffusionManifest(**{**MANIFEST.__dict__, "name": name})
    write_bundle(folder, manifest, networks, {"ATTRIBUTION.md": b"Random weights.\n"})
    return folder


CAMERA_DENOISER = make_spec(
    "denoiser",
    {"sample": (4, 16, 16), "timestep": (), "context": (17, WIDTH), "camera": (3,)},
    {"epsilon": (4, 16, 16)},
)


def make_camera_denoiser() -> bytes:
    """Return a denoiser that predicts azimuth + 10 elevation + 100 where there is a camera, and 0 without."""
    g = Graph(0)
    number = g.op("MatMul", "camera", g.constant([[1.0], [10.0], [100.0]]))
    column = g.op("Unsqueeze", number, g.constant([2, 3], np.int64))
    return g.model(CAMERA_DENOISER, g.op("Add", g.op("Mul", "sample", g.constant(0.0)), column))


def make_camera_bundle(folder: Path, base: Path) -> Path:
    """Write a bundle beside a tiny one, whose networks it shares but for a denoiser that knows cameras."""
    from export.objects import borrowed_network
    from runtime.engines.bundle import DiffusionBundle

    bundle = DiffusionBundle.load(base)
    networks = {role: borrowed_network(bundle, role) for role in bundle.specs}
    networks["denoiser"] = NetworkFiles(CAMERA_DENOISER, {"model.onnx": make_camera_denoiser()})
    write_bundle(folder, DiffusionManifest(**{**MANIFEST.__dict__, "name": folder.name}), networks)
    return folder


def make_pixel_bundle(folder: Path) -> Path:
    """Write a bundle of a model that reads texts and works on pictures of 16 pixels themselves: two networks."""
    shape = (3, 16, 16)
    inputs = {"sample": shape, "timestep": (), "context": (17, WIDTH)}
    denoiser = make_spec("denoiser", inputs, {"epsilon": shape})
    encoder = {"model.onnx": make_text_encoder(0), "tokenizer.json": make_tokenizer()}
    networks = {
        "text_encoder": NetworkFiles(SPECS["text_encoder"], encoder),
        "denoiser": NetworkFiles(denoiser, {"model.onnx": make_denoiser(0, denoiser)}),
    }
    own = {"name": folder.name, "latent_scale": 1.0, "latent_shape": shape, "image_size": 16}
    write_bundle(folder, DiffusionManifest(**{**MANIFEST.__dict__, **own}), networks)
    return folder
