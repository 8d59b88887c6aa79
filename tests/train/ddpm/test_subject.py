"""Networks of runs and of bundles are evaluated alike, and samples are levels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from runtime.errors import UserError
from runtime.guidance.solvers import Ancestral, Ddim, DpmSolver, Heun
from tests.ddpm.tiny import make_tiny_ddpm
from train.ddpm.network import Architecture, PixelDenoiser
from train.ddpm.runs import RunConfig, write_run
from train.ddpm.subject import draw_levels, load_subject, pick, solver_of

TINY = Architecture(size=8, widths=(8,), blocks=1, attention=(), dropout=0.0, groups=4, patch=2)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(22):
        Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def test_a_run_brings_its_pictures_and_a_bundle_is_told_them(tmp_path: Path, pictures: Path) -> None:
    write_run(tmp_path / "run", RunConfig(architecture=TINY, data=str(pictures)))
    save_file(PixelDenoiser(TINY).state_dict(), tmp_path / "run" / "ema.safetensors")
    run = load_subject(tmp_path / "run")
    assert run.differentiable and run.shape == (3, 8, 8) and len(run.pictures.train) == 21
    bundle = load_subject(make_tiny_ddpm(tmp_path / "bundle", times=30), data=str(pictures))
    assert not bundle.differentiable and bundle.shape == (3, 8, 8) and len(bundle.schedule) == 30
    assert torch.equal(bundle.pictures.train, run.pictures.train)
    with pytest.raises(UserError, match="--data 'noise': expected icons"):
        load_subject(tmp_path / "bundle")
    with pytest.raises(UserError, match=r"no config\.json is here"):
        load_subject(tmp_path / "nowhere")


def test_samples_are_levels_by_their_seed(tmp_path: Path, pictures: Path) -> None:
    subject = load_subject(make_tiny_ddpm(tmp_path / "bundle"), data=str(pictures))
    kinds = {"dpm++": DpmSolver, "heun": Heun, "ddim": Ddim, "ancestral": Ancestral}
    for name, kind in kinds.items():
        solver = solver_of(name, subject.schedule, 4)
        assert isinstance(solver, kind) and len(solver.visited) == 4
        first, again, other = (draw_levels(subject, solver, 3, seed) for seed in (0, 0, 1))
        assert first.dtype == torch.uint8 and first.shape == (3, 3, 8, 8)
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_pictures_are_picked_evenly() -> None:
    levels = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1)
    assert pick(levels, 4).flatten().tolist() == [20, 40, 59, 79]
    assert torch.equal(pick(levels, 100), levels)
