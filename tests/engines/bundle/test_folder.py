import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from export.write.bundle import write_bundle
from export.write.network import NetworkFiles
from runtime.engines.backends.choice import make_engine
from runtime.engines.bundle import DiffusionBundle, installed_bundles
from runtime.engines.bundle import installed as module
from runtime.errors import UserError
from tests.bundles import MANIFEST, SPECS, make_denoiser, make_tiny_bundle


@pytest.fixture
def broken(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "broken"))


def test_a_bundle_says_what_its_manifest_says(tiny: DiffusionBundle) -> None:
    assert (tiny.name, tiny.licence, tiny.image_size, tiny.text_length) == ("tiny", "Apache-2.0", 128, 16)
    assert (tiny.latent_scale, tiny.latent_shape, tiny.prompt_suffix) == (0.5, (4, 16, 16), "")
    assert tiny.defaults("vectorfusion") == {"omega": 4.0}
    assert tiny.defaults("dreamfusion") == {}
    assert tiny.schedule["num_timesteps"] == 1000
    assert len(tiny.digest) == 64


def test_the_same_seed_makes_the_same_bundle(tmp_path: Path, tiny: DiffusionBundle) -> None:
    assert DiffusionBundle.load(make_tiny_bundle(tmp_path / "again")).digest == tiny.digest
    assert DiffusionBundle.load(make_tiny_bundle(tmp_path / "other", seed=1)).digest != tiny.digest


def test_writing_replaces_a_bundle_and_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "b")
    (folder / "stray").write_text("x")  # no part of the bundle, so not the writer's to remove
    bundle = DiffusionBundle.load(make_tiny_bundle(folder, seed=1))
    networks = {f"{bundle.folder_of(role).name}/{name}" for role, spec in bundle.specs.items() for name in spec.files}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present == {"bundle.json", "stray", *bundle.manifest.files, *networks}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES = ["denoiser/model.onnx", "latent_encoder/weights.safetensors", "text_encoder/tokenizer.json", "ATTRIBUTION.md"]
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (Path.unlink, "is missing: expected a file of {size} bytes, got none"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is truncated: expected {size} bytes, got {less}"),
    (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is too long: expected {size} bytes, got {more}"),
    (flip, "was edited: expected SHA-256 {hash}, got "),
]


@pytest.mark.parametrize("name", [*FILES, "denoiser/spec.json"])
@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=["missing", "truncated", "longer", "edited"])
def test_a_damaged_file_is_named_with_what_was_expected(
    broken: Path, name: str, damage: Callable[[Path], object], words: str
) -> None:
    content = (broken / name).read_bytes()
    damage(broken / name)
    with pytest.raises(UserError) as error:
        DiffusionBundle.load(broken)
    size = len(content)
    wanted = words.format(size=size, less=size - 1, more=size + 1, hash=hashlib.sha256(content).hexdigest())
    assert str(error.value).startswith(f"bundle 'tiny': {name} {wanted}")
    assert "copy the bundle again from its source" in str(error.value)


@pytest.mark.parametrize("there", [True, False])
def test_a_sparse_file_of_a_tebibyte_is_refused_unread(broken: Path, there: bool) -> None:
    begun, size = time.process_time(), 1 << 40
    with (broken / "ATTRIBUTION.md").open("wb") as file:
        file.truncate(size)
    with pytest.raises(UserError, match=rf"ATTRIBUTION.md.* is too long: expected \d+ bytes, got {size}"):
        DiffusionBundle.load(broken)
    document = json.loads((broken / "bundle.json").read_bytes())
    document["files"]["ATTRIBUTION.md"] = {"size": size, "sha256": "0" * 64}
    (broken / "bundle.json").write_text(json.dumps(document))
    if not there:
        (broken / "ATTRIBUTION.md").unlink()
    with pytest.raises(UserError, match=rf"field 'size': expected 0 to \d+ bytes, got {size}"):
        DiffusionBundle.load(broken)
    with (broken / "bundle.json").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(UserError, match=rf"expected at most \d+ bytes, got {size}"):
        DiffusionBundle.load(broken)
    assert time.process_time() - begun < 2.0


def test_a_folder_in_the_place_of_a_file_is_refused(broken: Path) -> None:
    (broken / "ATTRIBUTION.md").unlink()
    (broken / "ATTRIBUTION.md").mkdir()
    with pytest.raises(UserError, match=r"ATTRIBUTION\.md is missing: expected a file of 16 bytes, got a folder"):
        DiffusionBundle.load(broken)


def test_a_file_edited_after_loading_is_refused_when_it_is_used(broken: Path) -> None:
    bundle = DiffusionBundle.load(broken)
    flip(broken / "denoiser" / "model.onnx")
    with pytest.raises(UserError, match=r"denoiser/model\.onnx was edited"):
        bundle.denoiser()


def test_an_edited_spec_with_a_matching_manifest_still_needs_matching_files(broken: Path) -> None:
    spec = broken / "denoiser" / "spec.json"
    document = json.loads(spec.read_text())
    document["files"]["../../secret"] = {"size": 1, "sha256": "0" * 64}
    spec.write_text(json.dumps(document))
    manifest = json.loads((broken / "bundle.json").read_text())
    content = spec.read_bytes()
    manifest["files"]["denoiser/spec.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (broken / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"denoiser/spec\.json: files: '\.\./\.\./secret' is no file name inside"):
        DiffusionBundle.load(broken)


def test_a_newer_bundle_is_refused_with_the_remedy(broken: Path) -> None:
    document = json.loads((broken / "bundle.json").read_text()) | {"format": 9, "new": "thing"}
    (broken / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"newer version: expected format 2, got 9; update the clone"):
        DiffusionBundle.load(broken)


@pytest.mark.parametrize(
    ("name", "got"), [("nosuch", "neither"), (".", "a folder without one"), ("", "a folder"), ("~nobody", "neither")]
)
def test_a_bundle_that_is_not_there_is_named(name: str, got: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"bundle '{name}': expected the name of an installed bundle .*, got {got}"):
        DiffusionBundle.load(name)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/null", "/dev/null/x", "\ud800"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected the name of an installed bundle") as error:
        DiffusionBundle.load(name)
    assert len(str(error.value)) < 500


def test_a_role_or_file_that_is_not_there_is_named(tiny: DiffusionBundle) -> None:
    with pytest.raises(UserError, match="has no network for the role 'upscaler'; it has text_encoder, denois"):
        tiny.engine("upscaler")
    with pytest.raises(UserError, match=r"has no file latent_encoder/vjp\.onnx; export it again"):
        tiny.latent_encoder(gradients="engine")
    with pytest.raises(UserError, match=r"has no file denoiser/config\.json"):
        tiny.eager_engine("denoiser")
    with pytest.raises(UserError, match=r"'tiny' has no file image_embedder/config\.json; export it again"):
        tiny.image_encoder()
    with pytest.raises(UserError, match=r"'tiny' has no file image_embedder/vjp\.onnx; export it again"):
        tiny.image_encoder("engine")
    with pytest.raises(UserError, match="gradients: expected one of auto, torch, engine, none, got 'magic'"):
        tiny.latent_encoder(gradients="magic")


def test_engines_are_made_once(tiny: DiffusionBundle) -> None:
    assert tiny.engine("denoiser") is tiny.engine("denoiser")
    assert tiny.text_encoder() is tiny.text_encoder()


def test_installed_bundles_are_listed_with_size_and_licence(tmp_path: Path, monkeypatch) -> None:
    folder = make_tiny_bundle(tmp_path / "small", name="small")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bundle.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    bad, small = installed_bundles(tmp_path)
    assert (small.name, small.licence, small.problem) == ("small", "Apache-2.0", "")
    assert small.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert (bad.name, bad.licence) == ("bad", "")
    assert bad.problem == "bundle 'bad': bundle.json: field 'format': expected 1 to 2, got None"
    monkeypatch.setattr(module, "INSTALLED", tmp_path)
    assert DiffusionBundle.load("small").folder == folder


def test_no_installed_bundles_is_an_empty_list(tmp_path: Path) -> None:
    assert installed_bundles(tmp_path / "nowhere") == []


def test_files_that_only_earlier_versions_read_are_verified_and_left_alone(tmp_path: Path) -> None:
    files = {"model.onnx": make_denoiser(0), "forward.cpu.onnx": b"a graph", "forward.cpu.json": b"{}"}
    folder = tmp_path / "earlier"
    write_bundle(folder, MANIFEST, {"denoiser": NetworkFiles(SPECS["denoiser"], files)})
    assert set(DiffusionBundle.load(folder).choices()) == {"denoiser"}
    flip(folder / "denoiser" / "forward.cpu.onnx")
    with pytest.raises(UserError, match=r"denoiser/forward\.cpu\.onnx was edited"):
        DiffusionBundle.load(folder)


def test_engines_made_ahead_are_those_that_are_asked_for(tiny_folder: Path) -> None:
    made: list[str] = []

    def make(graph, choice, **options):
        made.append(graph.name)
        if graph.name == "latent_decoder":
            raise UserError("no decoder today")
        return make_engine(graph, choice, **options)

    bundle = DiffusionBundle.load(tiny_folder, threads=1, make=make)
    bundle.make_ahead(["denoiser", "nothing of the kind", "latent_decoder", "denoiser"])
    denoiser = bundle.engine("denoiser")
    assert bundle.engine("denoiser") is denoiser
    with pytest.raises(UserError, match="no decoder today"):
        bundle.latent_decoder()
    assert made == ["denoiser", "latent_decoder"]
    plain = DiffusionBundle.load(tiny_folder, threads=1)
    context = torch.zeros(1, *(size for size in denoiser.spec.inputs[2].shape[1:] if isinstance(size, int)))
    inputs = (torch.zeros(1, 4, 16, 16), torch.tensor([5]), context)
    assert torch.equal(denoiser(*inputs)[0], plain.engine("denoiser")(*inputs)[0])
