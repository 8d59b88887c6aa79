"""Stored weights of a camera-aware denoiser: small, exact to half a step, refused where they do not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from train.latent_diffusion.camera import CameraDenoiser
from train.latent_diffusion.camera_weights import (
    FACTS,
    WEIGHTS,
    load_weights,
    make_denoiser,
    pack,
    save_weights,
    unpack,
)
from train.outputs import Outputs


@pytest.fixture(scope="module")
def bundle() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


@pytest.fixture
def network(bundle: DiffusionBundle) -> CameraDenoiser:
    torch.manual_seed(0)
    return make_denoiser(bundle)


def trained(network: CameraDenoiser) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters() if weight.requires_grad}


def test_transformers_and_token_are_trained_and_convolutions_are_not(network: CameraDenoiser) -> None:
    names = trained(network)
    assert "camera.project.weight" in names
    assert "base.unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight" in names
    assert not [name for name in names if ".resnets." in name or ".conv_in." in name]


def test_stored_weights_come_back_to_half_a_step(network: CameraDenoiser) -> None:
    weights = {name: weight + 0.01 * torch.randn_like(weight) for name, weight in trained(network).items()}
    state = pack(weights)
    for name, weight in unpack(state).items():
        bound = 0.5001 * state[f"{name}/step"] if weight.dim() > 1 else 1e-3 * weights[name].abs() + 1e-7
        assert bool(((weight - weights[name]).abs() <= bound).all()), name


def test_a_folder_of_weights_fills_a_network(tmp_path: Path, network: CameraDenoiser, bundle: DiffusionBundle) -> None:
    weights = {name: torch.randn_like(weight) for name, weight in trained(network).items()}
    save_weights(Outputs(tmp_path / "kept", "a test", ()), weights, bundle, {"images": 7})
    assert (tmp_path / "kept" / WEIGHTS).stat().st_size < 9.5 * 2**20
    facts = load_weights(tmp_path / "kept", network, bundle)
    assert (facts["images"], facts["bundle"]) == (7, "icons")
    for name, expected in unpack(pack(weights)).items():
        assert torch.equal(network.get_parameter(name), expected), name


def test_weights_of_another_bundle_or_network_are_refused(
    tmp_path: Path, network: CameraDenoiser, bundle: DiffusionBundle
) -> None:
    with pytest.raises(UserError, match=rf"expected {WEIGHTS} and {FACTS}"):
        load_weights(tmp_path, network, bundle)
    save_weights(Outputs(tmp_path, "a test", ()), trained(network), bundle, {})
    state = load_file(tmp_path / WEIGHTS)
    save_file({k: v for k, v in state.items() if not k.startswith("camera.project.weight")}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=r"'camera\.project\.weight' is in one of them only"):
        load_weights(tmp_path, network, bundle)
    state["camera.project.bias"] = torch.zeros(3, dtype=torch.float16)
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=r"'camera\.project\.bias' has shape \(3,\), not \(384,\)"):
        load_weights(tmp_path, network, bundle)
    (tmp_path / FACTS).write_text(json.dumps({"denoiser_sha256": "0"}))
    with pytest.raises(UserError, match="expected weights on the denoiser of bundle 'icons', got some on another"):
        load_weights(tmp_path, network, bundle)
