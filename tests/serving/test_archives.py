import stat
import zipfile
from pathlib import Path

import pytest

from runtime.errors import UserError
from serving import archives
from serving.archives import content_of, pack, unpack


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
    with pytest.raises(UserError, match="expected a folder with files, got nothing in it"):
        unpack(zipped(tmp_path, {}), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_what_a_refused_or_killed_unpacking_has_left_goes(tmp_path: Path) -> None:
    damaged = tmp_path / "a.zip"
    with zipfile.ZipFile(damaged, "w") as packed:
        packed.writestr("a", b"x")
        packed.writestr("b", b"words " * 500)
    content = damaged.read_bytes()
    damaged.write_bytes(content.replace(b"words ", b"other ", 1))
    with pytest.raises(UserError, match="CRC"):
        unpack(damaged, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "half").write_bytes(b"")
    damaged.write_bytes(content)
    assert sorted(path.name for path in unpack(damaged, tmp_path / "out").iterdir()) == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_a_folder_is_packed_to_the_same_bytes_and_comes_out_again(tmp_path: Path) -> None:
    for place in ("here", "there"):
        photos = tmp_path / place / "photos"
        (photos / "deep").mkdir(parents=True)
        (photos / "2.png").write_bytes(b"2" * 1000)
        (photos / "deep" / "1.png").write_bytes(b"1")
    name, content = content_of(tmp_path / "here" / "photos")
    assert name == "photos.zip" and content == pack(tmp_path / "there" / "photos")
    (tmp_path / "a.zip").write_bytes(content)
    folder = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert folder.name == "photos" and (folder / "deep" / "1.png").read_bytes() == b"1"
    (tmp_path / "one.txt").write_text("one")
    assert content_of(tmp_path / "one.txt") == ("one.txt", b"one")


def test_what_cannot_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="expected a folder with files, got an empty one"):
        content_of(tmp_path / "empty")
    with pytest.raises(UserError, match="expected a file or a folder, got none"):
        content_of(tmp_path / "nothing")
    monkeypatch.setattr(archives, "SIZE", 3)
    (tmp_path / "empty" / "a").write_bytes(b"1234")
    with pytest.raises(UserError, match="at most 5000 files and 3 bytes"):
        content_of(tmp_path / "empty")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_content_is_refused(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as packed:
        packed.writestr("a.txt", b"words and words" * 300)
    content = bytearray(archive.read_bytes())
    for place in range(35, len(content) - 120, 7):
        damaged = bytearray(content)
        damaged[place : place + 5] = b"\xff" * 5
        archive.write_bytes(damaged)
        with pytest.raises(UserError, match=r"expected a .zip file of a folder"):
            unpack(archive, tmp_path / "out")


def test_names_that_no_system_takes_are_refused(tmp_path: Path) -> None:
    for name in ("a" * 300, "a/" * 3000 + "b"):
        with pytest.raises(UserError, match=r"expected a .zip file of a folder"):
            unpack(zipped(tmp_path, {name: b"x"}), tmp_path / "out")
