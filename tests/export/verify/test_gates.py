import math

import pytest
import torch

from export.verify.gates import Comparison, Gate, compare, format_table

GATE = Gate(30.0, 0.99)


def test_the_figures_have_their_closed_forms() -> None:
    reference = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    output = torch.tensor([[3.0, 4.5], [0.0, 2.0]])
    row = compare("x", reference, output, GATE)
    assert row.max_error == 0.5
    assert row.snr_db == pytest.approx(10 * math.log10((9 + 16 + 4) / 0.25))
    assert row.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))


def test_equal_tensors_pass_any_gate() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert compare("x", x, x, Gate(200.0, 1.0 - 1e-9)).passed


@pytest.mark.parametrize(
    ("snr", "cosine", "passed"),
    [(30.0, 0.99, True), (29.9, 0.999, False), (60.0, 0.98, False), (math.nan, 1.0, False), (60.0, math.nan, False)],
)
def test_both_figures_have_to_reach_the_gate(snr: float, cosine: float, passed: bool) -> None:
    assert Comparison("x", 0.0, snr, cosine, GATE).passed is passed


def test_one_bad_example_among_good_ones_is_seen() -> None:
    reference = torch.ones(10, 4)
    output = reference.clone()
    output[7] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert compare("x", reference, output, GATE).cosine == pytest.approx(0.0)


def test_a_network_of_zeros_fails_and_nan_fails() -> None:
    reference = torch.ones(2, 3)
    assert not compare("x", reference, torch.zeros(2, 3), GATE).passed
    assert not compare("x", reference, torch.full((2, 3), math.nan), GATE).passed


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x: expected \(2, 3\), got \(2, 2\)"):
        compare("x", torch.ones(2, 3), torch.ones(2, 2), GATE)


def test_the_table_names_what_failed() -> None:
    rows = [Comparison("good", 1e-6, 99.0, 1.0, GATE), Comparison("bad", 1.0, 3.0, 0.5, GATE)]
    lines = format_table(rows).splitlines()
    assert len(lines) == 4
    assert "good" in lines[2]
    assert lines[2].endswith("| passed |")
    assert "bad" in lines[3]
    assert lines[3].endswith("| 30 dB, 0.99 | FAILED |")
