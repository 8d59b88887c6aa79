"""CLIP's encoders: weights from every format, against transformers; what --into leaves of a bundle; refusals."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from export.__main__ import main
from export.clip.into import add_encoders
from export.clip.networks import network_makers
from export.clip.sources import load_encoder
from export.commands.clip import Clip
from export.commands.sd import Sd, run_sd
from export.pretrained.text import HIDDEN
from export.pretrained.tokenizer import random_vocabulary
from export.verify.references import reference_networks
from export.write import streamed
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.precision import Storage
from runtime.engines.twins.vit import CLIP_MEAN, CLIP_STD
from runtime.errors import UserError, run_main
from tests.tolerance import ENGINE_FLOAT32, ENGINE_HALF

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    """A CLIP of transformers with the sizes of `tiny-clip`."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": 49408, "hidden_act": "gelu", "bos_token_id": 49406, "eos_token_id": 49407}
    vision = {**SIZES, "image_size": 32, "patch_size": 8, "hidden_act": "gelu"}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).eval()


def vocabulary(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(random_vocabulary()[0]))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def save(state: dict, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_file({name: value.detach().contiguous().clone() for name, value in state.items()}, path)
    return path


def test_encoders_compute_what_transformers_computes(reference: torch.nn.Module, tmp_path: Path) -> None:
    save(reference.state_dict(), vocabulary(tmp_path / "model") / "model.safetensors")
    networks = network_makers(load_encoder("clip", "tiny-clip", str(tmp_path / "model")), 32, Storage.FLOAT32)
    image, text = networks["image_embedder"](), networks["text_embedder"]()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        wanted = reference(input_ids=text.samples[0], pixel_values=(image.samples[0] - mean) / std)
        torch.testing.assert_close(
            image.module(*image.samples), F.normalize(wanted.image_embeds), atol=ENGINE_FLOAT32, rtol=0
        )
        torch.testing.assert_close(
            text.module(*text.samples), F.normalize(wanted.text_embeds), atol=ENGINE_FLOAT32, rtol=0
        )


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-clip-convnext"])
def test_a_file_of_open_clip_holds_the_same_weights(name: str, tmp_path: Path) -> None:
    source = load_encoder("clip", name, "random:5")
    modules = {role: make().module.state_dict() for role, make in network_makers(source, 32, Storage.FLOAT32).items()}
    state = {f"visual.{n}": value for n, value in modules["image_embedder"].items()}
    state |= {n.removeprefix("text."): value for n, value in modules["text_embedder"].items()}
    state |= {"logit_scale": torch.tensor(1.0)}
    path = save(state, tmp_path / "open_clip_model.safetensors")
    again = load_encoder("clip", name, str(path), tokenizer=vocabulary(tmp_path / "clip"))
    for role, make in network_makers(again, 32, Storage.FLOAT32).items():
        found = make().module.state_dict()
        assert all(torch.equal(found[n], value) for n, value in modules[role].items())
    assert again.tokenizer == source.tokenizer
    assert again.record["weights"] == "open_clip_model.safetensors"


def test_the_mask_hides_what_comes_later() -> None:
    text = network_makers(load_encoder("clip", "tiny-clip", "random:0"), 32, Storage.FLOAT32)[
        "text_embedder"
    ]().module.text
    ids = torch.randint(0, 49406, (1, 77), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[:, 40:] = 7
    with torch.no_grad():
        first, second = text.features(ids)[1], text.features(other)[1]
    assert torch.equal(first[:, :40], second[:, :40])
    assert (first[:, 40:] != second[:, 40:]).any()
    assert torch.tensor(HIDDEN).half().isfinite()


def test_a_bundle_with_encoders_is_whole_and_ranks_pictures(sd_folder: Path) -> None:
    bundle = DiffusionBundle.load(sd_folder, threads=1)
    assert set(bundle.specs) == {
        "text_encoder", "denoiser", "latent_encoder", "latent_decoder", "image_embedder", "text_embedder"
    }  # fmt: skip
    assert bundle.specs["image_embedder"].inputs[0].shape == ("B", 3, 32, 32)
    listed = {"bundle.json", *bundle.manifest.files}
    listed |= {f"{bundle.manifest.networks[role]}/{name}" for role, spec in bundle.specs.items() for name in spec.files}
    assert {path.relative_to(sd_folder).as_posix() for path in sd_folder.rglob("*") if path.is_file()} == listed
    assert [path.name for path in sd_folder.parent.iterdir()] == ["sd"]
    scores = bundle.scorer()(torch.rand(3, 3, 32, 32), ["a cat", "a dog"])
    assert scores.shape == (3, 2)
    assert (scores.abs() <= 1.0 + 1e-5).all()


def test_gradients_reach_the_pixels_through_the_twin(sd_folder: Path) -> None:
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    bundle = DiffusionBundle.load(sd_folder, threads=1)
    value = bundle.image_encoder()(images)
    torch.testing.assert_close(value, bundle.image_encoder("none")(images.detach()), atol=5e-3, rtol=0)
    value[:, 0].sum().backward()
    assert images.grad is not None and (images.grad != 0).float().mean() > 0.9
    with pytest.raises(UserError, match="gradients: expected one of auto, torch, engine, none, got 'some'"):
        bundle.image_encoder("some")


def test_a_text_guides_pictures(sd_folder: Path) -> None:
    bundle = DiffusionBundle.load(sd_folder, threads=1)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = bundle.scorer()(images, ["a dog", "a cat"])[:, 1]
    gradients = []
    for provider in ("torch", "engine"):
        x = images.clone().requires_grad_()
        value = bundle.guide("a cat", provider)(x)
        torch.testing.assert_close(value, scores, atol=ENGINE_HALF, rtol=0)
        gradients += torch.autograd.grad(value.sum(), x)
    assert (gradients[0] != 0).float().mean() > 0.9
    torch.testing.assert_close(*gradients, atol=2 * ENGINE_HALF * float(gradients[0].abs().max()), rtol=0)


def test_the_same_encoders_are_kept_and_others_replace_them(sd_folder: Path, tmp_path: Path, monkeypatch) -> None:
    folder = Path(shutil.copytree(sd_folder, tmp_path / "tiny"))
    before = {path.name for path in folder.iterdir()}
    monkeypatch.setattr(streamed, "write_network", lambda *a: pytest.fail("a network was exported again"))
    lines: list[str] = []
    add_encoders(load_encoder("clip", "tiny-clip", "random:0"), folder, lines.append)
    assert {path.name for path in folder.iterdir()} == before
    assert [line for line in lines if "written before, kept" in line] == lines[:2]
    with pytest.raises(pytest.fail.Exception):
        add_encoders(load_encoder("clip", "tiny-clip", "random:1"), folder, lines.append)
    DiffusionBundle.load(folder)  # an export that ends early leaves the bundle whole


def refuse(exporter: str, name: str, pretrained: str, words: str, **options) -> None:
    with pytest.raises(UserError, match=words):
        load_encoder(exporter, name, pretrained, **options)


def test_what_is_no_model_is_refused() -> None:
    refuse("clip", "ViT-G-99", "random:0", "--model: expected one of ViT-B-32, .* got 'ViT-G-99'")
    refuse("timm", "ViT-B-32", "random:0", "--model: expected one of vit_tiny_patch16_224, ")
    refuse("clip", "ViT-B-32", "random:x", "--pretrained random:x: expected a seed of 0 to 2147483647 after 'random:'")
    refuse("clip", "ViT-B-32", "laion9", r"weights of ViT-B-32 by name \(laion2b_s34b_b79k, datacomp_xl_s13b_b90k\)")
    refuse("timm", "tiny-vit", "not a name", "expected random: and a seed, a .safetensors file, a folder with one")


def test_files_that_are_unsafe_broken_or_of_another_model_are_refused(tmp_path: Path) -> None:
    pickle = tmp_path / "open_clip_pytorch_model.bin"
    pickle.write_bytes(b"\x80")
    refuse("clip", "tiny-clip", str(pickle), "is refused: reading it would run whatever code is in it")
    refuse("clip", "tiny-clip", str(tmp_path), "open_clip_pytorch_model.bin' is refused")
    empty = tmp_path / "empty"
    empty.mkdir()
    refuse("clip", "tiny-clip", str(empty), "expected open_clip_model.safetensors or model.safetensors in it")
    other = save({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    refuse("clip", "tiny-clip", str(other), "expected CLIP's weights as open_clip or transformers store them")
    refuse("timm", "tiny-vit", str(other), "got a file without the weight 'pos_embed'")
    other.write_bytes(other.read_bytes()[:20])
    refuse("clip", "tiny-clip", str(other), "expected a whole safetensors file")


def test_weights_without_a_vocabulary_ask_for_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("export.clip.sources.installed_vocabulary", lambda: None)
    path = save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    refuse("clip", "tiny-clip", str(path), "holds no tokenizer: name a folder with CLIP's vocab.json and merges.txt")


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    path = save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    source = load_encoder("clip", "tiny-clip", str(path), tokenizer=vocabulary(tmp_path / "clip"))
    with pytest.raises(UserError, match="the weight 'class_embedding' is missing"):
        network_makers(source, 32, Storage.FLOAT32)["image_embedder"]()


@pytest.mark.parametrize(
    ("exporter", "name", "tag", "hub"),
    [
        ("clip", "ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
        ("clip", "ViT-L-14-quickgelu", "openai", "openai/clip-vit-large-patch14"),
        ("clip", "ViT-H-14", "some/where", "some/where"),
        ("timm", "vit_base_patch16_224", "augreg_in21k_ft_in1k", "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"),
    ],
)
def test_names_of_weights_lead_to_the_hub(exporter: str, name: str, tag: str, hub: str, monkeypatch) -> None:
    import huggingface_hub

    asked: list[str] = []

    def info(api: object, repository: str, **options: object) -> SimpleNamespace:
        asked.append(repository)
        siblings = [SimpleNamespace(rfilename=n, size=1) for n in ("pytorch_model.bin", "model.safetensors")]
        return SimpleNamespace(sha="abc", siblings=siblings)

    def snapshot(repository: str, **options: object) -> str:
        if not options.get("local_files_only"):
            assert options["allow_patterns"] == ["model.safetensors"]
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    refuse(exporter, name, tag, f"--pretrained '{hub}': .*no network; check the name and the network")
    assert asked == [hub]


def test_options_that_would_not_count_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--tokenizer: expected no folder for random weights"):
        load_encoder("clip", "tiny-clip", "random:0", tokenizer=tmp_path)
    for options in ({"tokenizer": tmp_path}, {"family": "sd21"}):
        (name,) = options
        with pytest.raises(UserError, match=f"--{name}: expected where --weights is a .safetensors file only"):
            run_sd(Sd(weights="random:tiny-sd15", out=tmp_path / "sd", **options))
    assert list(tmp_path.iterdir()) == []


def test_the_command_needs_a_bundle(tmp_path: Path, monkeypatch, capsys) -> None:
    arguments = ["clip", "--model", "tiny-clip", "--pretrained", "random:0", "--into", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_main(main)
    assert stop.value.code == 2
    assert "expected the name of an installed bundle" in capsys.readouterr().err
    assert Clip(pretrained="random:0", into=tmp_path).model == "ViT-B-16"


def test_references_of_the_bundle_need_its_weights(sd_folder: Path) -> None:
    with pytest.raises(UserError, match="was made of 'random:tiny-sd15' with other files or another seed"):
        reference_networks(sd_folder, "random:tiny-sd21")
    with pytest.raises(UserError, match="seed of 0 to"):
        reference_networks(sd_folder, "random:tiny-sd15,random:x")
