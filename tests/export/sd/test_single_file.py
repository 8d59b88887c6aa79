"""Models in one file, as Stable Diffusion's original code names their weights."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from export.pretrained.tokenizer import clip_tokenizer, random_vocabulary
from export.sd.load import load_source
from export.sd.networks import load_module
from export.verify.references import source_of
from runtime.engines.precision import Storage
from runtime.errors import UserError
from tests.export.sd.test_sources import check_equal, cut_in_half, to_transformers

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_name(name: str, layers: int) -> str:
    """Return the original name of a U-Net's weight: blocks are numbered through, resolutions after another."""
    stem, _, kind = name.rpartition(".")
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.{kind}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", stem):
        place = f"middle_block.{2 * int(found[2]) if found[1] == 'resnets' else 1}"
        return f"{place}.{_RESNET.get(found[3], found[3])}.{kind}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.+)", stem)
    assert found, name
    side, level, what, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if side == "down":
        first = 1 + level * (layers + 1)
        if what == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{kind}"
        return f"input_blocks.{first + index}.{'01'[what == 'attentions']}.{_RESNET.get(rest, rest)}.{kind}"
    first = level * (layers + 1)
    if what == "upsamplers":
        return f"output_blocks.{first + layers}.@.conv.{kind}"  # behind the attention, where there is one
    return f"output_blocks.{first + index}.{'01'[what == 'attentions']}.{_RESNET.get(rest, rest)}.{kind}"


def vae_name(name: str, levels: int) -> str:
    """Return the original name of an autoencoder's weight."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm")
    for new, old in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        name = name.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)


def make_state(family: str) -> dict[str, torch.Tensor]:
    """Return random weights under the names of the original code."""
    source = load_source(f"random:{family}", seed=3)
    pipeline = source.pipeline
    state = {role: load_module(source, role, Storage.FLOAT32).state_dict() for role in source.roles}
    stored = {}
    names = {name: unet_name(name, pipeline.unet["layers_per_block"]) for name in state["denoiser"]}
    for name, value in state["denoiser"].items():
        level = re.search(r"up_blocks\.(\d)", name)
        mixed = level is not None and any(f"up_blocks.{level[1]}.attentions" in other for other in names)
        stored[f"model.diffusion_model.{names[name].replace('@', '2' if mixed else '1')}"] = value
    levels = len(pipeline.vae["block_out_channels"])
    for name, value in {**state["latent_encoder"], **state["latent_decoder"]}.items():
        square = value[:, :, None, None] if ".to_" in name and value.ndim == 2 else value  # 1 x 1 convolutions
        stored[f"first_stage_model.{vae_name(name, levels)}"] = square
    first = to_transformers(state["text_encoder"])
    if pipeline.is_xl:
        stored |= {f"conditioner.embedders.0.transformer.{name}": value for name, value in first.items()}
        stored |= {f"conditioner.embedders.1.model.{name}": value for name, value in state["text_encoder_2"].items()}
    elif pipeline.text_encoders[0]["hidden_act"] == "gelu":
        stored |= {f"cond_stage_model.model.{name}": value for name, value in state["text_encoder"].items()}
    else:
        stored |= {f"cond_stage_model.transformer.{name}": value for name, value in first.items()}
    return {name: value.contiguous().clone() for name, value in stored.items()}


def make_tokenizer(folder: Path) -> Path:
    import json

    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(random_vocabulary()[0]))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


@pytest.mark.parametrize("family", ["tiny-sd15", "tiny-sd21", "tiny-sdxl"])
def test_a_file_holds_what_was_stored_in_it(family: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(make_state(family), path)
    source = load_source(str(path), tokenizer=make_tokenizer(tmp_path / "clip"), family=family)
    check_equal(source, family)
    assert source.tokenizers[0] == clip_tokenizer(*random_vocabulary(), source.pipeline.padding[0])
    assert source.record["weights"] == "model.safetensors"
    assert source.record["model"] == family


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return make_state("tiny-sd15")


def refused(path: Path, state: dict, words: str, **options) -> None:
    save_file(state, path)
    with pytest.raises(UserError, match=words):
        load_source(str(path), **options)


def test_a_record_finds_its_file_again_with_its_family(state: dict, tmp_path: Path) -> None:
    path, tokenizer = tmp_path / "model.safetensors", make_tokenizer(tmp_path / "clip")
    save_file(state, path)
    source = load_source(str(path), tokenizer=tokenizer, family="tiny-sd15")
    record = {**source.record, "precision": "float16"}
    check_equal(source_of(record, str(path), tokenizers=source.tokenizers), "tiny-sd15")


def test_a_pickle_is_refused_whatever_is_in_it(tmp_path: Path) -> None:
    for suffix in (".ckpt", ".pt", ".bin", ".pth"):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(b"\x80\x04cposix\nsystem\n")
        with pytest.raises(UserError, match=f"model{suffix}' is refused: reading it would run whatever code is in it"):
            load_source(str(path))


def test_a_truncated_file_is_refused(state: dict, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    cut_in_half(path)
    with pytest.raises(UserError, match="expected a whole safetensors file, got one that is truncated"):
        load_source(str(path), family="tiny-sd15")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("lora_unet_down_blocks_0_attentions_0_proj_in.alpha", "a LoRA"),
        ("control_model.input_blocks.0.0.weight", "a ControlNet"),
        ("decoder.conv_in.weight", "another model"),
    ],
)
def test_another_family_is_refused_by_name(name: str, kind: str, tmp_path: Path) -> None:
    words = f"expected a file of Stable Diffusion 1, 2 or XL, got {kind}: there is no weight"
    refused(tmp_path / "model.safetensors", {name: torch.zeros(4)}, words)


def test_another_task_is_refused(state: dict, tmp_path: Path) -> None:
    first = "model.diffusion_model.input_blocks.0.0.weight"
    words = "with 4 input channels, got one with 9, for another task"
    refused(tmp_path / "model.safetensors", {**state, first: torch.zeros(16, 9, 3, 3)}, words)


def test_a_file_that_does_not_tell_its_configuration_asks_for_it(state: dict, tmp_path: Path) -> None:
    path, key = tmp_path / "model.safetensors", "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    refused(path, state, "expected contexts of 768, 1024, 2048 numbers, got 32; name the configuration .* --family")
    wide = {**state, f"{key}.weight": torch.zeros(16, 1024)}
    refused(path, wide, "does not say what it predicts, nor of what size; .*--family: sd21, sd21-base, sd-turbo")
    refused(path, state, "--family: expected one of sd15, sd21, .* got 'sd9'", family="sd9")


def test_a_file_without_tokenizer_asks_for_one(state: dict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("export.sd.single_file.installed_vocabulary", lambda: None)
    words = "holds no tokenizer: name a folder with CLIP's vocab.json and merges.txt with --tokenizer"
    refused(tmp_path / "model.safetensors", state, words, family="tiny-sd15")


def test_a_file_that_lacks_a_weight_says_which(state: dict, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({n: v for n, v in state.items() if n != "first_stage_model.encoder.conv_in.weight"}, path)
    source = load_source(str(path), tokenizer=make_tokenizer(tmp_path / "clip"), family="tiny-sd15")
    with pytest.raises(UserError, match=r"the weight 'encoder\.conv_in\.weight' is missing"):
        load_module(source, "latent_encoder", Storage.FLOAT32)
