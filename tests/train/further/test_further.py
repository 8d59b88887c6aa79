"""Training further: a file of a run goes on where the run was, and the best averaged weights come back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from runtime.errors import UserError
from tests.train.latent_diffusion.made import write_prepared
from tests.train.pixelnerf.set_of_objects import write_set
from train.further import best as keeping
from train.further import latents as further_latents
from train.further.__main__ import SUBJECTS, Config, main, subject_of, train_further
from train.further.archive import Archive, halved, read_archive, write_archive
from train.further.pixelnerf import pack, unpack


def make_ddpm(folder: Path) -> list[str]:
    """Write a run of a tiny DDPM on twenty-four pictures; return the options of `prepare`."""
    from train.ddpm.network import Architecture, PixelDenoiser
    from train.ddpm.runs import RunConfig, write_run

    pictures, run = folder / "pictures", folder / "run"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        plain = np.full((16, 16, 3), 10 * number, np.uint8) + rng.integers(0, 8, (16, 16, 3), np.uint8)
        Image.fromarray(plain).save(pictures / f"{number:02d}.png")
    architecture = Architecture(size=8, widths=(8, 16), blocks=1, attention=(2,), dropout=0.0, groups=4, patch=2)
    write_run(run, RunConfig(architecture=architecture, data=str(pictures)))
    save_file(PixelDenoiser(architecture).state_dict(), run / "ema.safetensors")
    return ["ddpm", "--run", str(run)]


def make_pixelnerf(folder: Path) -> list[str]:
    """Write a run of pixelNeRF on six balls; return the options of `prepare`."""
    from train.pixelnerf.network import Architecture, PixelNeRF
    from train.pixelnerf.runs import write_run

    write_set(folder / "set")
    write_run(folder / "run", Architecture(side=32, width=16))
    save_file(PixelNeRF(Architecture(side=32, width=16)).state_dict(), folder / "run" / "ema.safetensors")
    return ["pixelnerf", "--run", str(folder / "run"), "--data", str(folder / "set"), "--cache", str(folder)]


def make_lmconv(folder: Path) -> list[str]:
    """Write a run of a small LMConv on digits of 6 pixels; return the options of `prepare`."""
    from train.lmconv.network import Architecture, LocallyMaskedPixelCNN
    from train.lmconv.runs import RunConfig, write_run

    rng = np.random.default_rng(0)
    data = folder / "digits.npz"
    np.savez(data, x_train=rng.integers(0, 2, (60, 6, 6), np.uint8) * 255, x_test=np.zeros((6, 6, 6), np.uint8))
    architecture = Architecture(filters=4)
    config = RunConfig(architecture=architecture, data="mnist", binarization="dynamic", size=(6, 6), orders="s-curve:0")
    write_run(folder / "run", config)
    save_file(dict(LocallyMaskedPixelCNN(architecture).state_dict()), folder / "run" / "ema.safetensors")
    return ["lmconv", "--run", str(folder / "run"), "--data", str(data)]


def make_teacher(folder: Path) -> list[str]:
    """Write a run of the teacher on seven objects and eight icons of noise; return the options of `prepare`."""
    write_prepared(folder)
    run = folder / "run"
    run.mkdir()
    state = {n: p.detach() for n, p in denoiser().named_parameters() if p.requires_grad}
    save_file(state, run / "ema.safetensors")
    (run / "run.json").write_text(json.dumps({"images_a_step": 4, "images_before": 5}))
    return ["teacher", "--run", str(run), "--data", str(folder)]


def make_denoiser_run(folder: Path) -> list[str]:
    """Write a run of the icons' denoiser, its bundle's; return the options of `prepare` on eight icons of noise."""
    from runtime.engines.bundle.diffusion import DiffusionBundle
    from train.latent_diffusion.restore import restore_denoiser

    write_prepared(folder)
    (folder / "run").mkdir()
    save_file(restore_denoiser(DiffusionBundle.load("icons")).state_dict(), folder / "run" / "ema.safetensors")
    (folder / "run" / "config.json").write_text(json.dumps({"network": "denoiser", "base": "icons"}))
    return ["denoiser", "--run", str(folder / "run"), "--data", str(folder / "icons")]


def make_decoder(folder: Path) -> list[str]:
    """Write a run of the icons' autoencoder, its bundle's; return the options of `prepare` on six pictures."""
    from runtime.engines.bundle.diffusion import DiffusionBundle
    from train.latent_diffusion.restore import restore_autoencoder

    write_archive_of_icons(folder / "icons.npz")
    bundle, run = DiffusionBundle.load("icons"), folder / "run"
    run.mkdir()
    state = restore_autoencoder(bundle).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, run / "ema.safetensors")
    config = {"network": "decoder", "base": "icons", "latent_scale": bundle.latent_scale}
    (run / "config.json").write_text(json.dumps(config))
    return ["decoder", "--run", str(run), "--data", str(folder / "icons.npz")]


def write_archive_of_icons(path: Path) -> None:
    """Write six discs as an archive of icons, one of them of a concept that is held out."""
    from train.data.icons import read_captions
    from train.latent_diffusion.replay import held_out_icons

    keys = np.array(sorted(read_captions()))
    held = held_out_icons({"concepts": keys}).numpy()
    chosen = np.concatenate([keys[~held][:5], keys[held][:1]])
    y, x = np.mgrid[:128, :128]
    disc = np.hypot(x - 63.5, y - 63.5) < 40
    colours = np.random.default_rng(0).integers(0, 200, (6, 3), np.uint8)
    pictures = np.where(disc[None, ..., None], colours[:, None, None], np.uint8(255))
    sets, kinds, colours = (np.full(6, value) for value in ("noto", "plain", ""))
    names = {"captions": chosen, "concepts": chosen, "sets": sets, "kinds": kinds, "colours": colours}
    np.savez(path, pictures=pictures, **names)  # pyright: ignore[reportArgumentType]


def denoiser() -> nn.Module:
    """Return the camera-aware denoiser of the bundle `icons`, untrained."""
    from runtime.engines.bundle.diffusion import DiffusionBundle
    from train.latent_diffusion.camera_weights import make_denoiser

    torch.manual_seed(3)
    return make_denoiser(DiffusionBundle.load("icons", threads=1))


MAKERS = {
    "denoiser": make_denoiser_run,
    "decoder": make_decoder,
    "teacher": make_teacher,
    "ddpm": make_ddpm,
    "pixelnerf": make_pixelnerf,
    "lmconv": make_lmconv,
}


def weights_of(name: str, folder: Path) -> nn.Module:
    """Return the network of a folder as its own reader, which `export` uses, reads it."""
    if name == "teacher":
        network = denoiser()
        network.load_state_dict(load_file(folder / "ema.safetensors"), strict=False)
        return network
    if name in ("denoiser", "decoder"):
        from export.icons.retrained import load_retrained

        network = load_retrained(folder, "icons").network.requires_grad_(True)
        return network if name == "denoiser" else network.get_submodule("vae.decoder")
    if name == "ddpm":
        from train.ddpm.runs import load_run as ddpm

        return ddpm(folder)[0]
    if name == "lmconv":
        from train.lmconv.runs import load_run as lmconv

        return lmconv(folder)[0]
    from train.pixelnerf.runs import load_run

    return load_run(folder)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_run_is_prepared_trained_further_and_read_as_a_run(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    monkeypatch.setattr(keeping, "DRAWS", 2)
    arrays = tmp_path / "arrays.npz"
    main(["prepare", *MAKERS[name](tmp_path), "--out", str(arrays)])
    out = tmp_path / "out"
    options = ["--arrays", str(arrays), "--out", str(out), "--device", "cpu", "--no-compile", "--no-bf16"]
    main([*options, "--batch", "4", "--steps", "8", "--every", "0", "--lr", "0.003", "--minutes", "5"])
    lines = capsys.readouterr().out.splitlines()
    assert "MiB" in lines[0] and lines[-1].startswith("held-out loss ")
    losses = [json.loads(line)["loss"] for line in (out / "held_out.jsonl").read_text().splitlines()]
    # at the start, after each of the steps (the interval is none), and once more at the end
    assert len(losses) == 10
    assert min(losses[1:]) < losses[0]
    trained, begun = weights_of(name, out), weights_of(name, tmp_path / "run")
    pairs = zip(trained.parameters(), begun.parameters(), strict=True)
    moved = [not torch.equal(a, b) for a, b in pairs if b.requires_grad]
    assert sum(moved) > len(moved) / 2
    config = "run.json" if name == "teacher" else "config.json"
    assert (out / config).read_text() == (tmp_path / "run" / config).read_text()
    assert json.loads((out / "checkpoint.json").read_text())["step"] == 1 + losses[1:].index(min(losses[1:]))


def test_what_comes_back_is_the_best_and_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = tmp_path / "arrays.npz"
    main(["prepare", *make_ddpm(tmp_path), "--out", str(arrays)])
    losses = iter([5.0, 4.0, 3.0, 3.5, 4.5])
    copies: list[bytes] = []
    monkeypatch.setattr(keeping.Best, "_measure", lambda self: next(losses))
    replace_file = keeping.replace_file
    monkeypatch.setattr(
        keeping, "replace_file", lambda path, content: (copies.append(content), replace_file(path, content))
    )
    config = Config(
        arrays=arrays, out=tmp_path / "out", device="cpu", compile=False, bf16=False, batch=2, steps=3, every=0.0
    )
    assert train_further(config, lambda line: None) == 3.0
    assert len(copies) == 4  # weights and their step, twice
    assert (tmp_path / "out" / "ema.safetensors").read_bytes() == copies[-2]
    assert json.loads((tmp_path / "out" / "checkpoint.json").read_text()) == {"step": 2}


def test_time_ends_it(tmp_path: Path) -> None:
    arrays = tmp_path / "arrays.npz"
    main(["prepare", *make_ddpm(tmp_path), "--out", str(arrays)])
    lines: list[str] = []
    config = Config(arrays=arrays, out=tmp_path / "out", device="cpu", compile=False, bf16=False, batch=2, minutes=0.02)
    train_further(config, lines.append)
    assert (tmp_path / "out" / "ema.safetensors").is_file()
    assert any("0 min left" in line for line in lines)


def test_what_is_drawn_begins_with_half_precision_weights(tmp_path: Path) -> None:
    main(["prepare", *make_ddpm(tmp_path), "--out", str(tmp_path / "arrays.npz")])
    archive = read_archive(tmp_path / "arrays.npz")
    assert archive.subject == "ddpm"
    assert archive.arrays["train"].dtype == np.uint8 and archive.arrays["train"].shape == (23, 3, 8, 8)
    begun, expected = subject_of("ddpm").open(archive, "cpu", 2).network, weights_of("ddpm", tmp_path / "run")
    for a, b in zip(begun.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b.half().float())


def test_latents_are_stored_within_half_a_step() -> None:
    latents = torch.linspace(-4.4, 4.4, 4000).reshape(1, 4, 1, 1000).half()
    back = further_latents.from_bytes(further_latents.to_bytes(latents))
    assert float((back.float() - latents.float()).abs().max()) < 0.5 / 28 + 2e-3  # and what halves are off near 4
    beyond = further_latents.from_bytes(
        further_latents.to_bytes(torch.tensor([-9.0, 9.0])[:, None, None, None].expand(2, 4, 1, 1))
    )
    assert beyond[:, 0].flatten().tolist() == pytest.approx([-127 / 28, 127 / 28], abs=2e-3)


def test_icons_come_back_as_they_were() -> None:
    from train.further import decoder

    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert np.array_equal(decoder.unpack(decoder.pack(picture)), picture)
    with pytest.raises(UserError, match="expected pictures of 128 pixels, got"):
        decoder.unpack(decoder.pack(picture[:64]))


def test_the_held_out_icon_is_never_drawn(tmp_path: Path) -> None:
    from train.further import decoder

    archive = decoder.prepare(None, Path(make_decoder(tmp_path)[-1]), None)
    assert archive.arrays["held_out"].tolist() == [False] * 5 + [True]
    archive.arrays["latents"][5] = 127  # would show in the loss of a training step that drew it
    other = decoder.prepare(None, tmp_path / "icons.npz", None)
    losses = []
    for one in (archive, other):
        further = decoder.open(one, "cpu", 3)
        generator = torch.Generator().manual_seed(0)
        training = float(further.loss(further.network, generator).detach())
        losses.append((training, float(further.held_out(further.network, generator).detach())))
    assert losses[0][0] == losses[1][0] and losses[0][1] > losses[1][1] + 0.1


def test_views_are_packed_into_little() -> None:
    y, x = np.mgrid[:32, :32]
    disc = (np.hypot(x - 15.5, y - 15.5) < 12)[..., None]
    views = (disc * np.stack([4 * x, 4 * y, 128 + 0 * x, 255 + 0 * x], -1)).astype(np.uint8)[None].repeat(16, 0)
    views[3:5, ..., :3] //= 2
    sheet = pack(views)
    assert len(sheet) < views.nbytes / 10
    back = unpack(sheet, 32)
    assert np.array_equal(back[..., 3], views[..., 3])
    assert np.abs(back[..., :3].astype(int) - views[..., :3]).mean() < 3.0
    assert (back[..., :3] <= back[..., 3:]).all()


def test_wrong_input_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "other.npz").write_bytes(b"none")
    config = Config(arrays=tmp_path / "other.npz", out=tmp_path / "out", device="cpu")
    with pytest.raises(
        UserError, match=r"--arrays '.*other\.npz': expected a file of python -m train\.further prepare"
    ):
        train_further(config)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(UserError, match="expected an empty folder or none"):
        train_further(replace(config, out=tmp_path / "full"))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="expected a graphics card"):
            train_further(replace(config, device="cuda"))
    with pytest.raises(UserError, match="subject: expected one of denoiser"):
        subject_of("clip")
    with pytest.raises(UserError, match="--data with the set, and --cache"):
        subject_of("pixelnerf").prepare(tmp_path, None, None)
    with pytest.raises(UserError, match="--data with the folders objects and icons"):
        subject_of("teacher").prepare(None, None, None)
    with pytest.raises(UserError, match="--data with the folder of prepared icons"):
        subject_of("denoiser").prepare(None, None, None)
    with pytest.raises(UserError, match="--data with the archive of icons"):
        subject_of("decoder").prepare(None, None, None)
    for name in ("ddpm", "lmconv", "pixelnerf"):
        with pytest.raises(UserError, match="--run: expected the run folder"):
            subject_of(name).prepare(None, tmp_path, tmp_path)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    archive = Archive("ddpm", {}, {}, halved(nn.Linear(2, 2)))
    with pytest.raises(UserError, match="arrays of 'ddpm': "):
        archive.load_into(nn.Linear(3, 2))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from train.further import archive

    monkeypatch.setattr(archive, "GREATEST", 1 << 20)
    noise = np.random.default_rng(0).integers(0, 256, 1 << 21, np.uint8)
    with pytest.raises(UserError, match=r"expected at most 1 MiB, got 2\.0"):
        write_archive(tmp_path / "a.npz", Archive("ddpm", {}, {"noise": noise}, {}))
    assert not (tmp_path / "a.npz").exists()
