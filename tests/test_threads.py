"""PyTorch on one thread, kernels and engines on all: within a block, nested, and after an error."""

import importlib
import json
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from runtime.command.method import Method, draw, write_files
from runtime.engines.bundle import Bundle
from runtime.field.fields import neural, residual
from runtime.field.reference.hashing import HashLayout
from runtime.guidance import samples
from runtime.lmconv import SAMPLE
from runtime.lmconv.config import Sample
from runtime.nerf import fields
from runtime.pictures import write_png
from runtime.threads import one_torch_thread, thread_count


@pytest.fixture
def three():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three")
def test_pytorch_has_one_thread_and_others_what_it_had() -> None:
    assert thread_count() == 3
    with one_torch_thread():
        assert (torch.get_num_threads(), thread_count()) == (1, 3)
        with one_torch_thread():
            assert (torch.get_num_threads(), thread_count()) == (1, 3)
        assert (torch.get_num_threads(), thread_count()) == (1, 3)
    assert (torch.get_num_threads(), thread_count()) == (3, 3)


@pytest.mark.usefixtures("three")
def test_after_an_error_it_is_as_before() -> None:
    with pytest.raises(KeyboardInterrupt), one_torch_thread():
        raise KeyboardInterrupt
    assert (torch.get_num_threads(), thread_count()) == (3, 3)


@pytest.mark.usefixtures("three")
def test_a_new_thread_in_the_block_has_one_of_each() -> None:
    counts = []
    with one_torch_thread():
        thread = Thread(target=lambda: counts.append((torch.get_num_threads(), thread_count())))
        thread.start()
        thread.join()
    assert counts == [(1, 1)]


def states(
    method: Method, config: Any, bundle: str | None, threads: tuple[int, ...] = (1, 3), folder: Path | None = None
) -> list[dict[str, torch.Tensor]]:
    """Return what a method ends with on each number of threads, and the bytes of its files where there is a folder."""
    before, ends = torch.get_num_threads(), []
    try:
        for count in threads:
            torch.set_num_threads(count)
            loaded = Bundle.load(bundle, threads=count) if bundle else None
            scene = draw(method, config, loaded)
            ends.append(scene.state())
            if folder is not None:
                (folder / f"{count}").mkdir()
                out = folder / f"{count}" / f"out{method.suffixes(config)[0]}"
                for file in write_files(method, config, loaded, scene, out):
                    ends[-1][file.suffix] = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
    finally:
        torch.set_num_threads(before)
    return ends


def test_a_trace_at_256_pixels_has_the_same_bits_on_any_number_of_threads(tmp_path: Path) -> None:
    from runtime.vectorize import METHOD
    from runtime.vectorize.config import Config

    grey = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(grey[None], (256, 256), mode="bicubic")[0].clamp(0, 1)
    write_png(tmp_path / "a.png", picture)
    config = Config(picture=tmp_path / "a.png", size=256, stages=1, steps=2, paths=3)
    one, *others = states(METHOD, config, None)
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_digits_have_the_same_pixels_on_any_number_of_threads() -> None:
    one, *others = states(SAMPLE, Sample(count=3), "mnist")
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CAPTURE = BENCHMARKS / "capture" / "transforms.json"
"""A capture, of which a test takes the first four pictures."""
PHOTO = BENCHMARKS / "capture" / "images" / "00.png"
DIGIT = BENCHMARKS / "digit.png"
FEW: dict[str, Any] = {"capture": CAPTURE, "views": 3, "size": 24, "steps": 2, "nodes": 17}
SHORT = {"count": 2, "steps": 2}
FUSED: dict[str, Any] = {"prompt": "a", "nodes": 17, "render": 16, "steps": 2}
FIELDS: dict[str, Any] = {"prompt": "a", "steps": 2, "render": 16, "samples": 8, "looks": 8, "nodes": 17}
METHODS: dict[str, tuple[str, str, dict[str, Any], str | None]] = {
    "ddpm sample": ("ddpm", "SAMPLE", {"count": 3, "steps": 2}, "icons-ddpm"),
    "ddpm sample, heun": ("ddpm", "SAMPLE", {"count": 3, "steps": 2, "sampler": "heun"}, "icons-ddpm"),
    "ddpm sample, ancestral": ("ddpm", "SAMPLE", {"count": 1, "sampler": "ancestral", "steps": 4}, "icons-ddpm"),
    "ddpm interpolate": ("ddpm", "INTERPOLATE", {"first": DIGIT, "second": DIGIT, **SHORT}, "icons-ddpm"),
    "ddpm complete": ("ddpm", "COMPLETE", {"picture": DIGIT, "hide": "top", "steps": 2, "samples": 2}, "icons-ddpm"),
    "ddpm codec": ("ddpm", "CODEC", {"picture": DIGIT, "bits": 0.02, "steps": 2}, "icons-ddpm"),
    "lmconv complete": ("lmconv", "COMPLETE", {"picture": DIGIT, "hide": "top", "samples": 2}, "mnist"),
    "clipdraw": ("clipdraw", "METHOD", {"prompt": "a", "steps": 2, "paths": 4, "views": 3}, "icons"),
    "nerf": ("nerf", "METHOD", FEW, None),
    "nerf, hashed": ("nerf", "METHOD", {**FEW, "field": "hashed"}, None),
    "nerf, hashed network": ("nerf", "METHOD", {**FEW, "field": "hashed-network"}, None),
    "nerf, networks": ("nerf", "METHOD", {**FEW, "preset": "simplified", "rays": 64}, None),
    "nerf, semantic": ("nerf", "METHOD", {**FEW, "encoder": "icons"}, None),
    "nerf, prior": ("nerf", "METHOD", {**FEW, "prior": "objects", "prompt": "a robot", "front": 0.0}, None),
    "pixelnerf": ("pixelnerf", "METHOD", {"picture": PHOTO, "nodes": 17, "frames": 2, "size": 16}, "pixelnerf"),
    "lift": ("lift", "METHOD", {"prompt": "a", "samples": 3, "nodes": 17, "render": 16, "refine": 2}, "icons"),
    "lift of a picture": ("lift", "METHOD", {"prompt": str(PHOTO), "nodes": 17, "refine": 0}, "icons"),
    "dreamfusion": ("dreamfusion", "METHOD", FUSED, "icons"),
    "dreamfusion, cameras": ("dreamfusion", "METHOD", FUSED, "objects"),
    "dreamfields": ("dreamfields", "METHOD", FIELDS, "icons"),
    "dreamfields, voxels": ("dreamfields", "METHOD", {**FIELDS, "field": "voxels"}, "icons"),
    "dreamfields, pixels": ("dreamfields", "METHOD", {**FIELDS, "field": "pixels"}, "icons"),
    "dreamfields, volsdf": ("dreamfields", "METHOD", {**FIELDS, "density": "volsdf"}, "icons"),
    "vectorize": ("vectorize", "METHOD", {"picture": DIGIT}, None),
}  # fmt: skip
"""Methods by package and name, with options that make them short, and a bundle."""

QUICK = ("ddpm sample", "nerf", "dreamfields, pixels")
"""Those that are not slow, the first two without their files."""


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fields be looked at in few places, though in tens of jobs of them, and hashed grids have short tables."""
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 2)
    monkeypatch.setattr(neural, "GRID", 25)
    monkeypatch.setattr(residual, "NODES", 25)
    monkeypatch.setattr(fields, "HashLayout", partial(HashLayout, log2_size=14))


def first_frames(count: int, file: Path) -> Path:
    """Write the first frames of the capture as a capture of its own; return it."""
    document = json.loads(CAPTURE.read_text())
    frames = [{**frame, "file_path": str(CAPTURE.parent / frame["file_path"])} for frame in document["frames"]]
    file.write_text(json.dumps({**document, "frames": frames[:count]}))
    return file


@pytest.mark.usefixtures("small_films")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in METHODS]
)
def test_every_method_ends_in_the_same_bytes_on_any_number_of_threads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, value, options, bundle = METHODS[name]
    method: Method[Any] = getattr(importlib.import_module(f"runtime.{package}"), value)
    make_small(monkeypatch)
    if "capture" in options:
        options = {**options, "capture": first_frames(4, tmp_path / "transforms.json")}
    config = method.config(**options)
    quick = name in QUICK
    folder = None if name in QUICK[:2] else tmp_path
    one, *others = states(method, config, bundle, (1, 3) if quick else (1, 2, 3, 4), folder)
    assert one
    for other in others:
        assert [key for key in one if not torch.equal(one[key], other[key])] == []
