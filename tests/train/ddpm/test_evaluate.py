import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from runtime.errors import UserError
from tests.bundles import make_tiny_bundle
from tests.ddpm.tiny import make_tiny_ddpm
from tests.guidance.linear import SCHEDULE
from train.ddpm.evaluate import Config, evaluate_terms, pick_times, tables
from train.ddpm.network import Architecture, PixelDenoiser
from train.ddpm.runs import RunConfig, write_run

TINY = Architecture(size=8, widths=(8,), blocks=1, attention=(), dropout=0.0, groups=4, patch=2)


def test_times_stand_for_all_others() -> None:
    generator = torch.Generator().manual_seed(0)
    visited, shares = pick_times(1000, 30, generator)
    assert visited[0] == 0 and visited == sorted(set(visited)) and len(visited) == 31
    assert shares[0] == 1 and shares.sum() == 1000
    assert pick_times(10, 99, generator)[0] == list(range(10))


def test_the_terms_sum_to_the_bound_and_ranges_of_times_to_about_as_much() -> None:
    x = (torch.randint(0, 256, (4, 1, 4, 4)).float()) / 127.5 - 1.0

    def predict(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 0.9 * z

    def evaluated(ranges: int, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        return evaluate_terms(predict, x, SCHEDULE, ranges=ranges, kind="fixedlarge", generator=generator)

    whole = evaluated(999)
    assert whole.bound == pytest.approx(float(whole.terms.sum()) + whole.prior, rel=1e-12)
    assert whole.rate_at(0) == pytest.approx(whole.rate) and whole.rate_at(999) == whole.prior
    rates = [whole.rate_at(place) for place in range(1000)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))
    mean = sum(evaluated(60, seed).bound for seed in range(3)) / 3
    assert mean == pytest.approx(whole.bound, rel=0.15)


def test_the_command_prints_bound_curve_and_flow(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(22):
        Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(folder / f"{number:02d}.png")
    network = PixelDenoiser(TINY)
    write_run(tmp_path / "run", RunConfig(architecture=TINY, data=str(folder)))
    save_file(network.state_dict(), tmp_path / "run" / "ema.safetensors")
    config = Config(run=tmp_path / "run", count=2, times=8, flow=3)
    lines = list(tables(config))
    assert lines[0].startswith("| pictures (fixedlarge) | L_T") and lines[2].startswith("| train (2) | 0.0000")
    assert lines[3].startswith("| held out (1) |") and "| time | rate, bits/dim | RMSE of 255 |" in lines
    assert lines[-1].endswith("bits/dim")
    with pytest.raises(UserError, match="--count: expected 1 to"):
        list(tables(replace(config, count=0)))


def test_a_bundle_is_evaluated_and_its_samples_features_compared(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number:02d}.png")
    make_tiny_ddpm(tmp_path / "tiny")
    config = Config(run=tmp_path / "tiny", data=str(folder), count=2, times=3, samples=6, steps=3)
    lines = list(tables(replace(config, encoder=str(make_tiny_bundle(tmp_path / "encoder")))))
    assert "\n6 samples, dpm++, 3 steps" in lines and lines[2].startswith("| train (2) |")
    rows = [line.split(" | ") for line in lines[-3:]]
    assert [row[0] for row in rows] == ["| samples (6)", "| as many samples as held out (3)", "| held out (3)"]
    assert all(float(row[1]) >= 0 for row in rows)
    with pytest.raises(UserError, match="--flow: expected a run folder, whose network can be differentiated, got a b"):
        list(tables(replace(config, flow=3)))
    with pytest.raises(UserError, match=r"w\.pth' is a pickle|w\.pth': expected a \.safetensors file, got no file"):
        list(tables(replace(config, inception=tmp_path / "w.pth")))
