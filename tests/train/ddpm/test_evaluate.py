import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from runtime.errors import UserError
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
