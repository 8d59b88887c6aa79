"""The network: sizes of the paper's, the same function as diffusers', and names of other code."""

import pytest
import torch

from benchmarks.ddpm.speed import diffusers_network
from runtime.errors import UserError
from tests.tolerance import FLOAT32_ROUNDING
from train.ddpm.names import our_names
from train.ddpm.network import PRESETS, Architecture, PixelDenoiser, sinusoids

SMALL = Architecture(size=16, widths=(16, 32, 32), blocks=2, attention=(8,), dropout=0.0, groups=8)


def drawn(architecture: Architecture = SMALL) -> PixelDenoiser:
    """Return a network all of whose weights are random: what begins at zero would hide mistakes."""
    network = PixelDenoiser(architecture).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.2 * torch.randn(weight.shape) + (0.5 if weight.ndim == 1 else 0.0))
    return network


def inputs(channels: int = 3, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, channels, size, size), torch.tensor([0, 500, 999])


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("cifar10", 35_746_307),
        ("lsun-256", 113_673_219),
        ("lsun-256-large", 255_677_955),
        ("tiny", 1_811_468),
        ("mnist", 1_003_460),
    ],
)
def test_sizes_are_the_papers(preset: str, count: int) -> None:
    with torch.device("meta"):
        network = PixelDenoiser(PRESETS[preset])
    assert sum(weight.numel() for weight in network.parameters()) == count


def test_it_is_the_function_of_diffusers_and_weights_load_both_ways() -> None:
    ours, theirs = drawn(), diffusers_network(SMALL)
    assert set(theirs.state_dict()) == set(ours.state_dict())
    theirs.load_state_dict(ours.state_dict())
    sample, t = inputs()
    with torch.no_grad():
        expected = theirs(sample, t).sample
        assert (ours(sample, t) - expected).abs().max() < FLOAT32_ROUNDING * expected.abs().max()
        back = PixelDenoiser(SMALL).eval()
        back.load_state_dict(theirs.state_dict())
        assert torch.equal(back(sample, t), ours(sample, t))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_weights_of_diffusers(preset: str) -> None:
    with torch.device("meta"):
        ours, theirs = PixelDenoiser(PRESETS[preset]), diffusers_network(PRESETS[preset])
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_a_new_network_predicts_zero_and_each_block_is_the_identity() -> None:
    network = PixelDenoiser(SMALL)
    sample, t = inputs()
    assert network(sample, t).abs().max() == 0
    x, time = torch.randn(2, 16, 8, 8), torch.randn(2, 64)
    assert torch.equal(network.down_blocks[0].resnets[0](x, time), x)
    attention = network.mid_block.attentions[0]
    x = torch.randn(2, 32, 4, 4)
    assert torch.equal(attention(x), x)


def test_sinusoids_run_from_1_to_a_ten_thousandth() -> None:
    found = sinusoids(torch.tensor([7]), 8)[0]
    frequencies = torch.tensor([1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4])
    assert torch.allclose(found, torch.cat(((7 * frequencies).sin(), (7 * frequencies).cos())), atol=1e-6)


def test_patches_are_put_back_where_they_came_from() -> None:
    architecture = Architecture(
        size=16, widths=(16,), blocks=1, attention=(), dropout=0.0, groups=8, patch=4, channels=1
    )
    network = drawn(architecture)
    sample, t = inputs(1)
    with torch.no_grad():
        base = network(sample, t)
        sample[0, 0, 15, 15] += 1.0
        changed = (network(sample, t) - base)[0, 0].abs() > 0
    assert base.shape == sample.shape and changed[12:, 12:].any()


def ported_names(ours: dict[str, torch.Tensor], last: int) -> dict[str, torch.Tensor]:
    """Return the weights of a network of `last` + 1 levels as the official checkpoints' port names and shapes them."""
    ported = {}
    for name, value in ours.items():
        new = name.replace("mid_block.resnets.0.", "mid.block_1.").replace("mid_block.resnets.1.", "mid.block_2.")
        new = new.replace("mid_block.attentions.0.", "mid.attn_1.")
        for level in range(last + 1):
            new = new.replace(f"down_blocks.{level}.", f"down.{level}.")
            new = new.replace(f"up_blocks.{level}.", f"up.{last - level}.")
        for theirs, mine in (
            ("block", "resnets"), ("attn", "attentions"), ("downsample", "downsamplers.0"),
            ("upsample", "upsamplers.0"),
            ("temb_proj", "time_emb_proj"), ("nin_shortcut", "conv_shortcut"), ("norm", "group_norm"), ("q", "to_q"),
            ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"), ("temb.dense.0", "time_embedding.linear_1"),
            ("temb.dense.1", "time_embedding.linear_2"), ("norm_out", "conv_norm_out"),
        ):  # fmt: skip
            new = new.replace(mine, theirs)
        ported[new] = value[:, :, None, None] if ".attn" in new and value.ndim == 2 else value
    return ported


def test_the_ports_names_are_ours() -> None:
    ours = drawn().state_dict()
    ported = ported_names(ours, 2)
    assert "up.2.block.0.nin_shortcut.weight" in ported and "mid.attn_1.proj_out.bias" in ported
    back = our_names(ported, 3)
    assert set(back) == set(ours) and all(torch.equal(back[name], value) for name, value in ours.items())


def test_names_of_older_diffusers_are_ours() -> None:
    ours = drawn().state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in ours.items():
        new = name
        for mine, theirs in old.items():
            new = new.replace(f".{mine}.", f".{theirs}.")
        renamed[new] = value
    assert set(our_names(renamed, 3)) == set(ours)
    with pytest.raises(UserError, match="expected one tensor for"):
        our_names({**renamed, "mid_block.attentions.0.to_q.bias": ours["mid_block.attentions.0.to_q.bias"]}, 3)


@pytest.mark.parametrize(
    ("change", "message"), [({"size": 18}, "multiple of 4, got 18"), ({"groups": 24}, "widths that 24 divides")]
)
def test_what_makes_no_network_is_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Architecture(**{"size": 16, "widths": (16, 32, 32), "groups": 8, **change})
