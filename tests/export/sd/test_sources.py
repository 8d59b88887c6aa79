"""Weights from folders, files and the hub: what is read is what was stored, and every refusal says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.pretrained import hub, packages
from export.pretrained.tokenizer import random_vocabulary
from export.sd.configurations import PIPELINES
from export.sd.load import load_source
from export.sd.networks import load_module
from export.sd.source import Source
from export.verify.references import source_of
from runtime.engines.precision import Storage
from runtime.errors import UserError

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def store(folder: Path, configuration: dict, state: dict, stem: str) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "Some", **configuration}))
    save_file({name: value.contiguous() for name, value in state.items()}, folder / f"{stem}.safetensors")


def to_transformers(state: dict) -> dict:
    """Return a text encoder's weights under the names of transformers."""
    from export.pretrained import names

    stored = {}
    inside = {ours: theirs for theirs, ours in names._IN_BLOCK.items()}
    outside = {ours: theirs for theirs, ours in names._TEXT.items()}
    for name, value in state.items():
        if name == "text_projection":
            stored["text_projection.weight"] = value.T
        elif name in outside:
            stored[f"text_model.{outside[name]}"] = value
        else:
            _, _, block, rest = name.split(".", 3)
            stem, _, kind = rest.rpartition(".")
            lead = f"text_model.encoder.layers.{block}"
            if rest.startswith("attn.in_proj_"):
                for part, chunk in zip("qkv", value.chunk(3), strict=True):
                    stored[f"{lead}.self_attn.{part}_proj.{rest.removeprefix('attn.in_proj_')}"] = chunk
            else:
                stored[f"{lead}.{inside[stem]}.{kind}"] = value
    return stored


def make_folder(folder: Path, family: str) -> Path:
    """Write a model of random weights in the format of diffusers, the autoencoder's attention under its old names."""
    source = load_source(f"random:{family}", seed=3)
    pipeline = source.pipeline
    state = {role: load_module(source, role, Storage.FLOAT32).state_dict() for role in source.roles}
    texts = [role for role in source.roles if role.startswith("text")]
    for role, configuration in zip(texts, pipeline.text_encoders, strict=True):
        store(folder / role, dict(configuration), to_transformers(state[role]), "model")
        tokenizer = folder / role.replace("text_encoder", "tokenizer")
        tokenizer.mkdir()
        vocabulary, _ = random_vocabulary()
        (tokenizer / "vocab.json").write_text(json.dumps(vocabulary))
        (tokenizer / "merges.txt").write_text("#version: 0.2\n")
        padding = pipeline.padding[texts.index(role)]
        (tokenizer / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": padding}}))
    store(folder / "unet", dict(pipeline.unet), state["denoiser"], "diffusion_pytorch_model")
    vae = {**state["latent_encoder"], **state["latent_decoder"]}
    for new, old in OLD.items():
        vae = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): value for name, value in vae.items()}
    store(folder / "vae", dict(pipeline.vae), vae, "diffusion_pytorch_model")
    kind = "StableDiffusionXLPipeline" if pipeline.is_xl else "StableDiffusionPipeline"
    index = {"_class_name": kind, "force_zeros_for_empty_prompt": pipeline.zero_empty}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "scheduler").mkdir()
    names = {"num_timesteps": "num_train_timesteps"}
    scheduler = {names.get(name, name): value for name, value in pipeline.schedule.items()}
    scheduler |= {"_class_name": "EulerDiscreteScheduler", "prediction_type": pipeline.prediction}
    scheduler |= {"timestep_spacing": "trailing"} if pipeline.sample_times else {}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny", "tiny-sd15")


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """A copy of the stored model that a test may damage."""
    return Path(shutil.copytree(stored, tmp_path / "model", copy_function=shutil.copy))


def check_equal(source: Source, family: str) -> None:
    """Check that a source's networks are those of the random weights that `make_folder` stores."""
    wanted = load_source(f"random:{family}", seed=3)
    assert source.roles == wanted.roles
    assert source.tokenizers == wanted.tokenizers
    for role in wanted.roles:
        first, second = (load_module(s, role, Storage.FLOAT32).state_dict() for s in (source, wanted))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["tiny-sd15", "tiny-sd21", "tiny-sd-turbo", "tiny-sdxl"])
def test_a_folder_holds_what_was_stored_in_it(family: str, tmp_path: Path) -> None:
    source = load_source(str(make_folder(tmp_path / "some", family)))
    wanted, found = PIPELINES[family], source.pipeline
    for name in ("prediction", "zero_empty", "sample_times", "padding", "image_size", "is_xl", "schedule"):
        assert getattr(found, name) == getattr(wanted, name)
    check_equal(source, family)
    assert source.record["weights"] == "some"
    assert len(source.record["files"]) == 4 if found.is_xl else 3


def test_a_record_finds_its_folder_again_or_refuses_another(folder: Path) -> None:
    source = load_source(str(folder))
    record = {**source.record, "precision": "float16", "keys": {}}
    moved = folder.rename(folder.parent / "elsewhere")
    check_equal(source_of(record, str(moved)), "tiny-sd15")
    path = moved / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    save_file({name: value + 1 for name, value in state.items()}, path)
    with pytest.raises(UserError, match="was made of 'model' with other files"):
        source_of(record, str(moved))


def test_a_large_network_may_lie_in_several_files(folder: Path) -> None:
    unet = folder / "unet"
    state = load_file(unet / "diffusion_pytorch_model.safetensors")
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    names, weight_map = sorted(state), {}
    for part, chosen in enumerate((names[::2], names[1::2]), 1):
        file = f"diffusion_pytorch_model-0000{part}-of-00002.safetensors"
        save_file({name: state[name] for name in chosen}, unet / file)
        weight_map |= dict.fromkeys(chosen, file)
    index = unet / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    check_equal(load_source(str(folder)), "tiny-sd15")
    (unet / file).unlink()
    with pytest.raises(UserError, match="expected a safetensors file, got none"):
        load_source(str(folder))
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(UserError, match="expected a weight_map of file names in this folder"):
        load_source(str(folder))


def test_half_precision_is_read_where_there_is_nothing_else(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value.half() for name, value in load_file(path).items()}, path.with_suffix(".fp16.safetensors"))
    check_equal(load_source(str(folder)), "tiny-sd15")
    path.unlink()
    unet = load_module(load_source(str(folder)), "denoiser", Storage.FLOAT32)
    wanted = load_module(load_source("random:tiny-sd15", seed=3), "denoiser", Storage.FLOAT16)
    assert torch.equal(unet.conv_in.weight, wanted.conv_in.weight.float())


def edit(path: Path, change: dict) -> None:
    document = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "is no model: expected model_index.json in it"),
    "pickles only": (
        lambda f: ((f / "model_index.json").unlink(), (f / "sd.ckpt").write_bytes(b"\x80")),
        "sd.ckpt' is refused: reading it would run whatever code is in it",
    ),
    "a file beside": (
        lambda f: ((f / "model_index.json").unlink(), (f / "sd.safetensors").write_bytes(b"")),
        "for a model in one file name that file: --weights .*sd.safetensors",
    ),
    "Stable Diffusion 3": (
        lambda f: edit(f / "model_index.json", {"_class_name": "StableDiffusion3Pipeline"}),
        "expected a model of StableDiffusionPipeline or StableDiffusionXLPipeline, got 'StableDiffusion3Pipeline'",
    ),
    "Flux": (lambda f: edit(f / "model_index.json", {"_class_name": "FluxPipeline"}), "got 'FluxPipeline'"),
    "no class": (lambda f: edit(f / "model_index.json", {"_class_name": None}), "got None"),
    "index is no JSON": (lambda f: (f / "model_index.json").write_text("{"), "expected a JSON object"),
    "inpainting": (
        lambda f: edit(f / "unet" / "config.json", {"in_channels": 9}),
        "got one with 9 .* for another task",
    ),
    "no context width": (
        lambda f: edit(f / "unet" / "config.json", {"cross_attention_dim": None}),
        "the field 'cross_attention_dim' is missing",
    ),
    "no U-Net": (lambda f: shutil.rmtree(f / "unet"), "unet': expected config.json in it, got none"),
    "no weights": (
        lambda f: (f / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
        "vae': expected diffusion_pytorch_model.safetensors in it, got none",
    ),
    "a pickle for weights": (
        lambda f: (f / "text_encoder" / "model.safetensors").rename(f / "text_encoder" / "pytorch_model.bin"),
        "pytorch_model.bin' is refused: reading it would run whatever code",
    ),
    "truncated": (
        lambda f: cut_in_half(f / "unet" / "diffusion_pytorch_model.safetensors"),
        "expected a whole safetensors file, got one that is truncated or of another format",
    ),
    "empty": (
        lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b""),
        "expected a whole safetensors file, got one that is truncated or of another format",
    ),
    "no tokenizer": (
        lambda f: shutil.rmtree(f / "tokenizer"),
        "tokenizer': expected vocab.json in it, or tokenizer.json, got none",
    ),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "scheduler_config.json': expected this file, got none"),
    "another schedule": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", {"beta_schedule": "squaredcos_cap_v2"}),
        "expected beta_schedule 'scaled_linear', got 'squaredcos_cap_v2'",
    ),
    "zero terminal": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", {"rescale_betas_zero_snr": True}),
        "expected a schedule without rescale_betas_zero_snr",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_with_the_reason(damage: str, folder: Path) -> None:
    spoil, words = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(UserError, match=words):
        load_source(str(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv_in.weight": None}, "the weight 'conv_in.weight' is missing"),
        ({"conv_in.weight": torch.zeros(2, 2)}, r"weight 'conv_in.weight': expected \(16, 4, 3, 3\) .*, got \(2, 2\)"),
    ],
)
def test_weights_of_another_network_are_refused(change: dict, words: str, folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = {**load_file(path), **change}
    save_file({name: value for name, value in state.items() if value is not None}, path)
    with pytest.raises(UserError, match=words):
        load_module(load_source(str(folder)), "denoiser", Storage.FLOAT32)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("random:sd9", "expected one of sd15, sd21, .* after 'random:'"),
        (
            "nothing/here/at/all",
            "expected a folder of diffusers, a .safetensors file, owner/name on the hub, or random:",
        ),
        ("none.safetensors", "there is no such file or folder"),
    ],
)
def test_weights_that_are_nowhere_are_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_source(text)


@pytest.mark.parametrize("seed", [-1, 1 << 31])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UserError, match="--seed: expected 0 to 2147483647"):
        load_source("random:tiny-sd15", seed=seed)


@pytest.mark.parametrize("size", [0, 60, 8192])
def test_a_size_that_the_unet_cannot_halve_is_refused(size: int) -> None:
    with pytest.raises(UserError, match="--size: expected a multiple of 64 up to 4096"):
        load_source("random:sd15", size=size)
    assert load_source("random:sd15", size=256).pipeline.image_size == 256


def test_the_hubs_files_are_chosen_without_pickles_and_once() -> None:
    names = [
        "model_index.json", "README.md", "unet/config.json", "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors", "text_encoder/config.json",
        "text_encoder/model.safetensors.index.json", "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt",
        "safety_checker/config.json", "safety_checker/model.safetensors", "scheduler/scheduler_config.json",
        "v1-5-pruned.safetensors", "v1-5-pruned.ckpt",
    ]  # fmt: skip
    chosen = hub.needed_files(names)
    assert len(chosen) == len(set(chosen))
    assert set(chosen) == {
        "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors", "text_encoder/config.json",
        "text_encoder/model.safetensors.index.json", "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"'unet/a\.bin' is refused: reading it would run whatever code"):
        hub.needed_files(["unet/config.json", "unet/a.bin"])


def test_a_name_of_the_hub_is_downloaded_in_parts_that_are_needed(stored: Path, monkeypatch, tmp_path: Path) -> None:
    import huggingface_hub

    files = [path.relative_to(stored).as_posix() for path in stored.rglob("*") if path.is_file()]
    asked: list[dict] = []

    def snapshot(name: str, **options: object) -> str:
        asked.append({"name": name, **options})
        if options.get("local_files_only"):
            raise FileNotFoundError("not in the cache")
        return str(stored)

    siblings = [SimpleNamespace(rfilename=name, size=10) for name in [*files, "sd.ckpt"]]
    info = SimpleNamespace(sha="abc", siblings=siblings)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **k: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.chdir(tmp_path)
    source = load_source("someone/something")
    assert source.record["weights"] == "someone/something"
    check_equal(source, "tiny-sd15")
    assert asked[-1]["revision"] == "abc"
    assert sorted(asked[-1]["allow_patterns"]) == sorted(files)
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(UserError, match=r"expected .* GiB of free space"):
        load_source("someone/something")


def test_a_name_that_the_hub_does_not_give_is_refused(monkeypatch, tmp_path: Path) -> None:
    import huggingface_hub

    def fail(*args: object, **options: object) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'someone/something': there is no folder of this name.*no route to the hub"):
        load_source("someone/something")


def test_a_missing_package_names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'the package .onnx. .*: pip install -e ".*\[export\]"'):
        packages.require("onnx")


def test_too_little_room_is_told(monkeypatch, tmp_path: Path) -> None:
    packages.check_space(tmp_path / "not" / "there", 1)
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**29))
    with pytest.raises(UserError, match=r"expected 1.05 GiB of free space .*, got 0.50 GiB"):
        packages.check_space(tmp_path, 2**30)
