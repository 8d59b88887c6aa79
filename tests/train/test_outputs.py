"""A file that a command has not written as it is now is not replaced, at whatever moment an earlier one has died."""

import json
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.files import replace_file
from train import outputs
from train.outputs import RECORD, Outputs, make_folder

NAMES = ("a.npy", "b.json")


def test_what_was_written_is_replaced_and_what_was_changed_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    first = Outputs(folder, "train.x", NAMES)
    assert not folder.exists()
    first.write("a.npy", b"1")
    first.write("b.json", "{}")
    Outputs(folder, "train.x", NAMES).write("a.npy", b"2")
    assert (folder / "a.npy").read_bytes() == b"2"
    (folder / "b.json").write_text("mine")
    with pytest.raises(UserError, match=r"b.json' exists, and train.x has not written it as it is now; .* --force"):
        Outputs(folder, "train.x", NAMES)
    Outputs(folder, "train.x", ("a.npy",))
    Outputs(folder, "train.x", NAMES, force=True).write("b.json", "{}")
    Outputs(folder, "train.x", NAMES)


def test_a_file_of_nobody_or_of_another_command_stays(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"a photo")
    with pytest.raises(UserError, match=r"a.npy' exists"):
        Outputs(tmp_path, "train.x", NAMES)
    Outputs(tmp_path, "train.y", ("b.json",)).write("b.json", "{}")
    with pytest.raises(UserError, match=r"b.json' exists, and train.x has not"):
        Outputs(tmp_path, "train.x", ("b.json",))
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match=r"c' is a folder"):
        Outputs(tmp_path, "train.y", ("c",), force=True)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', "[" * 5000, '{"files": {"a.npy": 3}}'])
def test_a_record_of_others_is_neither_believed_nor_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(UserError, match=r"written.json' exists"):
        Outputs(tmp_path, "train.x", NAMES)


def test_a_process_that_dies_anywhere_leaves_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Outputs(tmp_path, "train.x", NAMES).write("a.npy", b"1")

    def dying(path: Path, content: bytes) -> None:
        if path.name == "a.npy":
            raise KeyboardInterrupt
        replace_file(path, content)

    for content in (b"2", b"3"):  # dead twice after the record was written, and before the file was
        with monkeypatch.context() as patch:
            patch.setattr(outputs, "replace_file", dying)
            with pytest.raises(KeyboardInterrupt):
                Outputs(tmp_path, "train.x", NAMES).write("a.npy", content)
    Outputs(tmp_path, "train.x", NAMES).write("a.npy", b"4")
    assert len(json.loads((tmp_path / RECORD).read_text())["files"]["a.npy"]) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"file.* cannot be made: .*; choose another --out"):
            make_folder(folder)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
