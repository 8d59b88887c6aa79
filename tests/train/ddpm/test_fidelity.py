"""FID, KID and IS: what is refused here; with torch-fidelity, what they are of equal and of different pictures."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import UserError
from train.ddpm.fidelity import fidelity_scores, load_inception

MISSING = any(importlib.util.find_spec(name) is None for name in ("torch_fidelity", "torchvision"))


def test_a_pickle_of_inception_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    file = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    file.write_bytes(b"\x80\x02c")
    with pytest.raises(UserError, match=r"is a pickle.*convert it with: python -c .*6726825d\.safetensors"):
        load_inception(file)
    with pytest.raises(UserError, match="got no file"):
        load_inception(tmp_path / "nowhere.safetensors")


@pytest.mark.skipif(not MISSING, reason="torch-fidelity is installed")
def test_the_package_is_named_where_it_is_missing(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"expected the package torch-fidelity, got .*\[benchmark\]"):
        load_inception(tmp_path / "w.safetensors")


@pytest.mark.skipif(MISSING, reason="torch-fidelity or torchvision is not installed")
def test_other_tensors_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="expected the tensors of torch-fidelity's"):
        load_inception(tmp_path / "w.safetensors")


@pytest.mark.skipif(MISSING, reason="torch-fidelity or torchvision is not installed")
def test_scores_by_random_weights() -> None:
    # Inception's own forward takes a second a batch; layers of the same names stand in for it.
    def extract(levels: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = levels.float().flatten(1)[:, :12]
        return {"2048": rows, "logits_unbiased": rows / 255.0}

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 256, (40, 3, 4, 4), generator=generator, dtype=torch.uint8) for _ in range(2))
    same, other = fidelity_scores(extract, a, a), fidelity_scores(extract, a, b)
    numbers = [float(line.split("FID ")[1].split(",")[0]) for line in (same, other)]
    assert numbers[0] == pytest.approx(0.0, abs=0.1) and numbers[1] > 10
    assert "40 samples against 40 pictures" in same and "KID" in same and "IS 1." in same
