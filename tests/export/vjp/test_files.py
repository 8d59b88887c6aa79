"""Value and gradient of whole networks under ONNX Runtime against autograd, and what the graphs hold."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F

from export.graph.external_weights import WeightsFile
from export.graph.quantize import quantize_state
from export.graph.trace import export_onnx
from export.network import ExportedNetwork, TorchModule, batched
from export.vjp.files import vjp_files, vjp_model, vjp_spec
from export.write.bundle import write_bundle
from export.write.network import NetworkFiles, gradient_files
from runtime.engines.backends.eager import expand_weights
from runtime.engines.backends.ort import OrtEngine
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.precision import Storage
from runtime.engines.spec import EngineSpec
from runtime.engines.twins.convnext import ConvNext, ConvNextConfig
from runtime.engines.twins.kl_encoder import KLEncoder, KLEncoderConfig
from runtime.engines.twins.vit import VisionConfig, VisionTransformer
from runtime.errors import UserError
from tests.bundles import KL_CONFIG, MANIFEST, make_latent_encoder_module
from tests.tolerance import VJP_FLOAT32

WEIGHTS = "weights.safetensors"

ENCODER = KLEncoderConfig(
    in_channels=12, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=4, unshuffle=2, latent_scale=0.5
)
"""An encoder with everything: unshuffle, halving, a shortcut, attention."""


def make_encoder() -> nn.Module:
    return KLEncoder(ENCODER)


def make_vit() -> nn.Module:
    config = VisionConfig(
        input_size=24, image_size=32, patch_size=8, width=32, layers=1, heads=4, mlp_width=64, embedding=16
    )
    return VisionTransformer(config)


def make_quick_vit() -> nn.Module:
    config = VisionConfig(
        input_size=32, image_size=32, patch_size=8, width=32, layers=1, heads=2, mlp_width=64, embedding=0,
        activation="quick_gelu", pre_norm=False, patch_bias=True,
    )  # fmt: skip
    return VisionTransformer(config)


def make_convnext() -> nn.Module:
    return ConvNext(ConvNextConfig(input_size=32, image_size=32, depths=(1, 1), widths=(16, 32), embedding=8))


NETWORKS = {
    "encoder": (make_encoder, 32, (4, 8, 8)),
    "vit": (make_vit, 24, (16,)),
    "quick_vit": (make_quick_vit, 32, (32,)),
    "convnext": (make_convnext, 32, (8,)),
}


class Written:
    """A network's gradient files, and engines of them."""

    def __init__(self, name: str, storage: Storage = Storage.FLOAT32) -> None:
        make, side, outputs = NETWORKS[name]
        torch.manual_seed(0)
        self.module = make()
        for parameter in self.module.parameters():
            around = 1.0 if parameter.ndim == 1 else 0.0
            parameter.data = around + torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5
        self.content = save(quantize_state(dict(self.module.state_dict()), storage, threshold=1))
        self.module.load_state_dict(expand_weights(self.content, "here"))
        self.module.eval().requires_grad_(False)
        self.spec = batched("net", {"images": (3, side, side)}, {"y": outputs})
        self.files = vjp_files(self.module, self.spec, WeightsFile.of(WEIGHTS, self.content))

    def engine(self) -> OrtEngine:
        spec = EngineSpec.from_json(self.files["vjp.json"], "vjp.json")
        return OrtEngine(spec, self.files["vjp.onnx"], threads=1, shared={WEIGHTS: self.content})

    def reference(self, count: int) -> tuple[torch.Tensor, ...]:
        """Return images, cotangent, value and gradient."""
        x = torch.rand(count, *self.spec.inputs[0].shape[1:]).requires_grad_()
        y = self.module(x)
        cotangent = torch.randn_like(y)
        return x.detach(), cotangent, y.detach(), torch.autograd.grad(y, x, cotangent)[0]


STORAGE = {
    "encoder": Storage.INT8,
    "vit": Storage.FLOAT16,
    "quick_vit": Storage.FLOAT32,
    "convnext": Storage.FLOAT16,
}
"""How each network's weights are stored: graphs unpack them."""


@cache
def write(name: str) -> Written:
    return Written(name, STORAGE[name])


@pytest.fixture(params=list(NETWORKS))
def written(request: pytest.FixtureRequest) -> Written:
    return write(request.param)


@pytest.fixture
def encoder() -> Written:
    return write("encoder")


def check(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Hold a result to 1e-4 of the largest, and each picture's to a cosine above 0.9999."""
    assert float((found - expected).abs().max()) <= VJP_FLOAT32 * float(expected.abs().max())
    assert float(F.cosine_similarity(found.flatten(1), expected.flatten(1)).min()) > 0.9999


@pytest.mark.parametrize("count", [1, 3])
def test_value_and_gradient_are_those_of_autograd(written: Written, count: int) -> None:
    x, cotangent, y, gradient = written.reference(count)
    value, product = written.engine()(x, cotangent)
    check(value, y)
    check(product, gradient)


def test_the_graph_runs_anywhere(encoder: Written) -> None:
    graph = onnx.ModelProto.FromString(encoder.files["vjp.onnx"]).graph
    assert {node.domain for node in graph.node} == {""}
    assert "ConvTranspose" not in {node.op_type for node in graph.node}


def test_no_byte_of_a_weight_is_in_a_graph(encoder: Written) -> None:
    for name, content in encoder.files.items():
        if not name.endswith(".onnx"):
            continue
        weights = onnx.ModelProto.FromString(content).graph.initializer
        outside = [weight for weight in weights if weight.data_location == TensorProto.EXTERNAL]
        assert len(outside) > 20
        assert all(len(weight.raw_data) <= 2048 for weight in weights)
        for weight in outside:
            place = {entry.key: entry.value for entry in weight.external_data}
            assert place["location"] == WEIGHTS
            assert int(place["offset"]) + int(place["length"]) <= len(encoder.content)
        assert len(content) < 70_000


def test_graphs_are_the_same_bytes_every_time_and_need_no_values_of_the_module(encoder: Written) -> None:
    arguments = {**ENCODER.__dict__, "block_out_channels": [16, 32]}
    module = TorchModule(name="KLEncoder", arguments=arguments, state={})
    bare = ExportedNetwork(spec=encoder.spec, module=nn.Identity(), samples=())
    network = replace(bare, torch_module=module)
    assert gradient_files(network, WeightsFile.of(WEIGHTS, encoder.content)) == encoder.files
    assert gradient_files(bare, WeightsFile(WEIGHTS, {})) == {}


def test_a_spec_with_two_inputs_has_no_gradient_graph() -> None:
    spec = batched("net", {"a": (3,), "b": (3,)}, {"y": (3,)})
    with pytest.raises(ValueError, match="net: expected one input and one output, got 2, 1"):
        vjp_spec(spec)


def test_an_operator_without_a_form_is_named() -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sort(-1).values

    with pytest.raises(ValueError, match=r"operator aten\.sort.*: expected one that has a form in ONNX"):
        vjp_model(Sorted(), batched("net", {"x": (8,)}, {"y": (8,)}), WeightsFile(WEIGHTS, {}))


def test_a_parameter_that_the_file_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"weights\.safetensors: expected the parameter 'weight', got none"):
        vjp_model(nn.Linear(4, 4), batched("net", {"x": (4,)}, {"y": (4,)}), WeightsFile(WEIGHTS, {}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one network, the tiny latent encoder, with its gradient."""
    module, spec = (
        make_latent_encoder_module(0),
        batched("latent_encoder", {"images": (3, 128, 128)}, {"latents": (4, 16, 16)}),
    )
    content = save(module.state_dict())
    model = export_onnx(module, spec, (torch.rand(2, 3, 128, 128),))
    files = vjp_files(module, spec, WeightsFile.of(WEIGHTS, content))
    config = json.dumps({"class": "KLEncoder", "arguments": KL_CONFIG}).encode()
    files |= {WEIGHTS: content, "config.json": config, "model.onnx": model.SerializeToString()}
    folder = tmp_path_factory.mktemp("bundles") / "gradients"
    write_bundle(folder, MANIFEST, {"latent_encoder": NetworkFiles(spec, files)})
    return folder


def test_a_bundle_gives_the_gradient_from_its_engines(folder: Path) -> None:
    bundle = DiffusionBundle.load(folder, threads=1)
    module = make_latent_encoder_module(0)
    images, cotangent = torch.rand(2, 3, 128, 128).requires_grad_(), torch.randn(2, 4, 16, 16)
    expected = torch.autograd.grad(module(images), images, cotangent)[0]
    value = bundle.latent_encoder(gradients="engine")(images)
    check(value.detach(), module(images).detach())
    check(torch.autograd.grad(value, images, cotangent)[0], expected)
    whole = bundle.vjp_engine("latent_encoder")
    check(whole(images.detach(), cotangent)[1], expected)
    assert bundle.vjp_engine("latent_encoder") is whole


@pytest.mark.parametrize("name", ["vjp.onnx", "vjp.json", WEIGHTS])
def test_a_damaged_gradient_file_is_refused_by_name(folder: Path, name: str, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    data = bytearray((broken / "latent_encoder" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / "latent_encoder" / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"latent_encoder/{name.replace('.', '[.]')} was edited"):
        DiffusionBundle.load(broken)
