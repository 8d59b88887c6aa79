import stat
import zipfile
from pathlib import Path

import pytest

from runtime.errors import UserError
from serving import archives
from serving.archives import unpack


def zipped(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "a.zip"


def test_a_folder_comes_out_as_it_was(tmp_path: Path) -> None:
    archive = zipped(tmp_path, {"photos/1.png": b"1", "photos/deep/2.png": b"2"})
    folder = unpack(archive, tmp_path / "out")
    assert folder == tmp_path / "out" / "photos"
    assert (folder / "1.png").read_bytes() == b"1" and (folder / "deep" / "2.png").read_bytes() == b"2"
    archive.unlink()
    assert unpack(archive, tmp_path / "out") == folder, "not again"
    assert unpack(zipped(tmp_path, {"1.png": b"", "2.png": b""}), tmp_path / "flat") == tmp_path / "flat"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x"])
def test_nothing_leads_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="expected names inside a folder"):
        unpack(zipped(tmp_path, {name: b"x"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_links(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UserError, match="expected names inside a folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_no_bombs_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SIZE", 1000)
    with pytest.raises(UserError, match="expected at most"):
        unpack(zipped(tmp_path, {"a": bytes(2000)}), tmp_path / "out")
    (tmp_path / "b.zip").write_bytes(b"PK rubbish")
    with pytest.raises(UserError, match=r"expected a .zip file of a folder"):
        unpack(tmp_path / "b.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
