from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import UserError
from train.ddpm.weights import CONVERT, PICKLES, read_tensors


def test_tensors_come_back(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3)}, tmp_path / "w.safetensors")
    assert read_tensors(tmp_path / "w.safetensors")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", PICKLES)
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"w{suffix}"
    file.write_bytes(b"\x80\x02c")
    with pytest.raises(UserError, match="is a pickle") as caught:
        read_tensors(file)
    assert f"{CONVERT} '{file}' '{tmp_path / 'w.safetensors'}'" in str(caught.value)


def test_the_command_converts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"state_dict": {"a": torch.arange(6).view(2, 3).T}}, tmp_path / "w.pth")
    program = CONVERT.removeprefix('python -c "').removesuffix('"')
    monkeypatch.setattr("sys.argv", ["-c", str(tmp_path / "w.pth"), str(tmp_path / "w.safetensors")])
    exec(program, {})
    assert torch.equal(read_tensors(tmp_path / "w.safetensors")["a"], torch.arange(6).view(2, 3).T)


def test_no_file_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a \.safetensors file, got no file"):
        read_tensors(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "w.safetensors")
