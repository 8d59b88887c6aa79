"""The benchmark of DreamFusion's steps: what its clock counts, and one run of each preset."""

import sys

import pytest
import torch

from benchmarks.dreamfusion.measure import Clock, main, rows_of, table_of


def test_parts_add_up_to_the_step() -> None:
    totals = {
        "loss": 10.0,
        "render": 3.0,
        "denoise": 4.0,
        "encode": 1.0,
        "backward": 6.0,
        "encode, backward": 2.0,
        "update": 1.0,
    }
    rows = rows_of(totals)
    assert sum(rows.values()) == 10 + 6 + 1
    assert rows["camera, light, noise, terms"] == 2.0
    assert rows["render and terms, backward"] == 4.0
    clock = Clock("cpu")
    clock.cpu_s.update(totals)
    clock.wall_s.update(totals)
    lines = table_of(clock, 2)
    assert "| step | 8500.0 | 8500.0 |" in lines
    # Networks: 4 + 1 + 2 of 17.
    assert "CPU 143 %" in lines[-1]


def test_an_encoders_way_back_is_a_part() -> None:
    clock = Clock("cpu")
    pictures = torch.ones(1, 3, requires_grad=True)
    (clock.timed_encoder(torch.sin)(2 * pictures) * 3).sum().backward()
    assert pictures.grad is not None
    assert torch.allclose(pictures.grad, 6 * torch.cos(torch.tensor(2.0)))
    assert set(clock.cpu_s) == {"encode", "encode, backward"}
    assert clock.begun == {}


@pytest.mark.parametrize("preset", ["fast", "thesis"])
def test_a_tiny_run_prints_a_table(
    preset: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["dreamfusion", "--tiny", "--steps", "4", "--preset", preset]
    monkeypatch.setattr(sys, "argv", words)
    main()
    shown = capsys.readouterr().out
    assert f"preset {preset}, bundle tiny on cpu, 16 px, 4 steps" in shown
    assert "| denoise |" in shown and "Steps a second" in shown
