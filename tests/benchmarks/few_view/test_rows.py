import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.few_view.fit import measure
from benchmarks.few_view.objects import ANGLE, archive_of
from benchmarks.few_view.perceptual import STAGES, Lpips
from benchmarks.few_view.rows import NETWORKS, Options, configs, summary
from runtime.errors import UserError
from runtime.field.captures import load_capture
from runtime.nerf import Config

CAPTURE = Path(__file__).parents[3] / "benchmarks" / "capture"


def test_rows_have_means_and_standard_errors() -> None:
    runs = [{"psnr": value, "ssim": 0.5, "cpu_seconds": 1.0, "steps": 3, "course": []} for value in (1.0, 2.0, 3.0)]
    row = summary("x", runs)
    assert (row["psnr"], row["fits"], row["steps"]) == (2.0, 3, 3)
    assert math.isclose(row["psnr_error"], 1 / math.sqrt(3))
    assert row["ssim_error"] == 0
    assert row["psnr_each"] == [1.0, 2.0, 3.0]
    assert "lpips" not in row


def test_networks_keep_their_own_settings() -> None:
    rows = dict(configs(Options(networks=True, rays=64)))
    assert set(rows) == set(NETWORKS)
    assert rows["simplified-lego"].view_dependent and rows["simplified-lego"].lr is None
    assert rows["simplified-lego, learning rate 5e-4"] == replace(rows["simplified-lego"], lr=5e-4)
    assert rows["nerf"].steps == 200_000 and rows["nerf"].rays == 64
    assert rows["diet"].encoder == "icons"
    assert [name for name, _ in configs(Options(only="total variation x"))] == ["total variation x 10"]


def test_a_fit_ends_with_its_budget_and_is_measured() -> None:
    config = Config(capture=CAPTURE, views=3, size=12, steps=12, rays=100, nodes=9)
    whole = measure(config, every=1e-6)
    assert whole["steps"] == 12
    assert len(whole["course"]) == 12
    assert [step for _, step, _ in whole["course"]] == list(range(1, 13))
    assert math.isfinite(whole["psnr"])
    assert whole["train_psnr"] > 5
    assert whole["anew"] == 0
    assert measure(config, budget=0.0)["steps"] == 1


def test_objects_are_captures_with_z_up(tmp_path: Path) -> None:
    poses = np.eye(4, dtype=np.float32)[None].repeat(2, 0)
    poses[:, 2, 3] = 4
    path = tmp_path / "object.npz"
    path.write_bytes(archive_of(np.zeros((2, 8, 8, 4), np.uint8), poses))
    capture = load_capture(path)
    assert len(capture) == 2
    # The unit ball just fits at distance 4: so the box is the set's own.
    assert torch.allclose(capture.cameras.centres.norm(dim=1), torch.full((2,), 4.0), rtol=1e-3)
    assert math.isclose(ANGLE, math.radians(28.955), rel_tol=1e-4)


def test_lpips_of_weights_that_can_be_worked_out(tmp_path: Path) -> None:
    weights, width = {}, 3
    for index, stage in enumerate(STAGES):
        for place in stage:
            # Every convolution hands the first channel through.
            kernel = torch.zeros(4, width, 3, 3)
            kernel[0, 0, 1, 1] = 1.0
            weights[f"features.{place}.weight"], weights[f"features.{place}.bias"] = kernel, torch.zeros(4)
            width = 4
        weights[f"lin{index}.model.1.weight"] = torch.full((1, 4, 1, 1), float(index + 1))
    weights["features.0.bias"][1] = 1.0
    weights["features.2.weight"][1, 1, 1, 1] = 1.0
    path = tmp_path / "lpips.safetensors"
    save_file(weights, path)
    lpips = Lpips.load(path)
    grey, white = torch.full((3, 16, 16), 0.5), torch.ones(3, 16, 16)
    assert lpips.distance(grey, grey) == 0
    # The first stage: unit vectors along (red, 1); the others only have red, so their unit vectors are equal.
    angles = [math.atan2(1.0, (red + 0.030) / 0.458) for red in (0.5, 1.0)]
    chord = 2 * math.sin((angles[0] - angles[1]) / 2)
    assert math.isclose(lpips.distance(grey, white), chord**2, rel_tol=1e-4)
    del weights["lin4.model.1.weight"]
    save_file(weights, path)
    with pytest.raises(UserError, match=r"none called 'lin4\.model\.1\.weight'"):
        Lpips.load(path)
    path.write_bytes(b"none")
    with pytest.raises(UserError, match="expected a safetensors file"):
        Lpips.load(path)
