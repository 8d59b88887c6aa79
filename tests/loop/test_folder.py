import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from runtime import __version__, files
from runtime.command.run import main_of
from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file, try_writing
from runtime.loop.folder import FORMAT, Checkpoint, RunFolder, is_run, read_config, result_of
from tests.serving import toy


def checkpoint(stage: int = 1, step: int = 5) -> Checkpoint:
    values = torch.tensor([1.0 / 3.0, -0.0, 1e-42])
    return Checkpoint(stage, step, {"a": values, "b": torch.arange(4).view(2, 2).T}, {"rate": 0.1})


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {"prompt": "ä"}) as run:
        assert run.load() is None
        run.save(checkpoint())
        found = run.load()
    assert found is not None and (found.stage, found.step, found.numbers) == (1, 5, {"rate": 0.1})
    for name, value in checkpoint().tensors.items():
        assert torch.equal(found.tensors[name], value) and found.tensors[name].dtype == value.dtype
    assert found.tensors["a"].view(torch.int32).tolist() == checkpoint().tensors["a"].view(torch.int32).tolist()


def test_only_the_last_checkpoint_stays(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.save(checkpoint(0, 9))
        run.save(checkpoint(1, 2))
    assert [p.name for p in (tmp_path / "run").glob("*.safetensors")] == ["checkpoint-001-000002.safetensors"]


def test_what_a_kill_has_left_half_written_goes_and_the_users_own_files_stay(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {"method": "toy", "config": {}}) as run:
        (run.path / "snapshots").mkdir(exist_ok=True)
    left = [
        run.path / ".checkpoint.json.a1b2c3_4.tgm.tmp",
        run.path / "snapshots" / ".000010.svg.abcdefgh.tgm.tmp",
        run.path / "result" / ".film.mp4.abcdefgh.tgm.tmp.mp4",
    ]
    own = [
        run.path / "notes.tmp",
        run.path / ".hidden",
        run.path / ".a.tmp",
        run.path / ".checkpoint.json.a1b2c3_4.tmp",
        tmp_path / ".checkpoint.json.a1b2c3_4.tgm.tmp",  # outside the run: another process may be writing it
    ]
    (run.path / "result").mkdir()
    for file in [*left, *own]:
        file.write_text("x")
    RunFolder.reopen(run.path).close()
    assert [file for file in left if file.exists()] == [] and all(file.exists() for file in own)


def test_old_temporary_files_are_swept_wherever_one_is_written(tmp_path: Path) -> None:
    old, new = tmp_path / ".a.svg.abcdefgh.tgm.tmp", tmp_path / ".b.svg.abcdefgh.tgm.tmp"
    half = tmp_path / ".run.abcdefgh.tgm.tmp"
    others = [tmp_path / ".c.svg.abcdefgh.tmp", tmp_path / ".mine.abcdefgh.tgm.tmp" / "thesis.txt"]
    for folder in (half / "inputs" / "init", others[1].parent):
        folder.mkdir(parents=True)
    for file in (old, new, half / "config.json", *others):
        file.write_text("x")
    for path in (old, half, others[0], others[1].parent):
        os.utime(path, (0, 0))
    RunFolder.create(tmp_path / "run", {}).close()
    assert not half.exists() and others[1].exists()
    # Once a process: a folder of thousands of files is not listed for each one that is written.
    files._SWEPT.discard(tmp_path)  # pyright: ignore[reportPrivateUsage]
    replace_file(tmp_path / "d.svg", "d")
    assert not old.exists() and new.exists() and others[0].exists()


def test_a_run_that_died_twice_leaves_no_folder_of_its_first_death(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {}).close()
    half, young = tmp_path / ".run.abcdefgh.tgm.tmp", tmp_path / ".run.abcdefgi.tgm.tmp"
    for folder in (half, young):
        (folder / "snapshots").mkdir(parents=True)
    os.utime(half, (0, 0))
    RunFolder.reopen(tmp_path / "run").close()
    assert not half.exists() and young.exists()


def test_a_long_name_has_room_for_the_temporary_one(tmp_path: Path) -> None:
    replace_file(tmp_path / ("ä" * 127), "x")
    assert len(list(tmp_path.iterdir())) == 1
    try_writing(tmp_path / ("ä" * 127))
    with pytest.raises(UserError, match="cannot be written: File name too long; choose another place"):
        try_writing(tmp_path / ("ä" * 128))


@pytest.mark.parametrize("raised", [OSError(2, "No such file"), UserError("cannot write 'x.png'")])
def test_a_run_folder_that_vanishes_is_named(tmp_path: Path, raised: Exception) -> None:
    with pytest.raises(UserError, match=r"run folder '.*run' has gone"), RunFolder.create(tmp_path / "run", {}):
        (tmp_path / "run").rename(tmp_path / "away")
        raise raised


def test_a_run_folder_that_vanishes_ends_the_command_in_words(tmp_path: Path, monkeypatch, capsys) -> None:
    def moved(scene: toy.Bars, step: int, generator: torch.Generator) -> None:
        if step == 1:
            (tmp_path / "runs" / "toy").rename(tmp_path / "away")

    def build(config, bundle, generator, *, run, report):
        (stage,) = toy.build(config, bundle, generator, run=run, report=report)
        return [dataclasses.replace(stage, advance=moved)]

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"run folder 'runs/toy' has gone: .*give the same command"):
        main_of(dataclasses.replace(toy.METHOD, build=build))(["x", "--steps", "3", "--quiet"])
    assert "resume with" not in capsys.readouterr().err
    (tmp_path / "away").rename(tmp_path / "runs" / "toy")
    assert main_of(toy.METHOD)(["x", "--steps", "3", "--quiet"]) == 0


def test_what_is_no_ordinary_file_or_too_long_is_not_read(tmp_path: Path) -> None:
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((long, "expected at most 9 bytes"), (tmp_path, "folder"), (tmp_path / "pipe", "no ordinary")):
        with pytest.raises(OSError, match=reason):
            read_ordinary(path, 9)
    with pytest.raises(OSError, match="null byte"):
        read_ordinary(tmp_path / "a\0b", 9)
    (tmp_path / "short").write_bytes(b"123456789")
    assert read_ordinary(tmp_path / "short", 9) == b"123456789"


def test_config_says_what_was_asked_and_by_which_version(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {"prompt": "a cat"}, inputs={"picture/a.png": b"abc"}):
        pass
    # of FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert read_config(tmp_path / "run") == {
        "format": FORMAT,
        "version": __version__,
        "prompt": "a cat",
        "inputs_sha256": {"picture/a.png": digest},
    }


def test_what_a_run_depends_on_is_believed_only_as_it_was_written(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        assert run.stored("sample.png") is None
        run.store("sample.png", b"abc")
        assert run.stored("sample.png") == b"abc"
        (run.path / "sample.png").write_bytes(b"abd")
        with pytest.raises(UserError, match="is not what the run has written"):
            run.stored("sample.png")
        # Without its digest, as after a kill between the two, a file does not count.
        (run.path / "sample.png.sha256").unlink()
        assert run.stored("sample.png") is None


def test_a_taken_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not empty: expected a new folder"):
        RunFolder.create(tmp_path / "run", {})
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "thesis.txt"]
    with RunFolder.create(tmp_path / "other", {}), pytest.raises(UserError, match="is not empty"):
        RunFolder.create(tmp_path / "other", {})


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    RunFolder.create(tmp_path / "run", {}).close()
    assert is_run(tmp_path / "run")


@pytest.mark.parametrize("text", ['{"format": 1, "version": "0.1.0"}', "[]", "{", '{"steps": 3}', "[" * 100_000])
def test_a_config_of_another_program_marks_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert not is_run(tmp_path)


def test_a_kill_while_a_folder_is_made_leaves_no_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runtime.loop.folder.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder.create(tmp_path / "run", {}, inputs={"picture/a.png": b"1"})
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_copied_and_results_are_listed(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}, inputs={"picture/a.png": b"1", "truth/a.png": b"2"}) as run:
        assert run.input("picture/a.png").read_bytes() == b"1" and run.input("truth/a.png").read_bytes() == b"2"
        assert result_of(run.path) is None
        run.finish({Path("/x/a.svg"): "ab"})
        assert result_of(run.path) == {Path("/x/a.svg"): "ab"}
        for text in ("{", "[]", '{"files": 3}', "{}"):
            (run.path / "result.json").write_text(text)
            assert result_of(run.path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": 3},
        {"stage": -1},
        {"stage": 1.5},
        {"step": None},
        {"numbers": []},
        {"stage": True},
    ],
)
def test_an_edited_checkpoint_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.save(checkpoint())
        note = run.path / "checkpoint.json"
        note.write_text(json.dumps(json.loads(note.read_text()) | change))
        with pytest.raises(UserError, match="cannot be read"):
            run.load()


def test_the_one_before_stays_until_the_next_checkpoint_is_whole(tmp_path: Path, monkeypatch) -> None:
    from runtime.loop import folder

    with RunFolder.create(tmp_path / "run", {}) as run:
        run.save(checkpoint(0, 1))
        plain = folder.replace_file

        def full_at_note(path: Path, content: bytes | str) -> None:
            if path.name == "checkpoint.json":
                raise OSError(28, "No space left on device")
            plain(path, content)

        monkeypatch.setattr(folder, "replace_file", full_at_note)
        with pytest.raises(OSError, match="No space"):
            run.save(checkpoint(0, 2))
        loaded = run.load()
        assert loaded is not None and loaded.step == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written.*choose another --out"):
        RunFolder.create(tmp_path / "file" / "run", {})


def test_a_folder_in_use_is_refused_and_free_after_the_end(tmp_path: Path) -> None:
    make = f"RunFolder.reopen(Path({str(tmp_path / 'r')!r})).close()"
    code = f"from pathlib import Path; from runtime.loop.folder import RunFolder; {make}"
    with RunFolder.create(tmp_path / "r", {}):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "in use by another process" in other.stderr
    subprocess.run([sys.executable, "-c", code], check=True)  # its lock ends with it
    RunFolder.reopen(tmp_path / "r").close()


def test_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match=r"no run is here \(no config.json\)"):
            RunFolder.reopen(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', "\x00\xff"])
def test_a_config_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.json is not a run's"):
        RunFolder.reopen(tmp_path)


@pytest.mark.parametrize("change", [{"version": "9.9.9"}, {"format": "tgm-run-1"}, {"format": 1}])
def test_a_run_of_another_version(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": FORMAT, "version": __version__} | change))
    with pytest.raises(UserError, match=f"this is tgm {__version__}.*start anew"):
        RunFolder.reopen(tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.save(checkpoint())
        (file,) = (tmp_path / "run").glob("*.safetensors")
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        with pytest.raises(UserError, match="is not what was written"):
            run.load()
        file.unlink()
        with pytest.raises(UserError, match="cannot be read"):
            run.load()
        (tmp_path / "run" / "checkpoint.json").write_text("{")
        with pytest.raises(UserError, match="cannot be read"):
            run.load()


def test_the_log_forgets_the_future_and_half_lines(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as run:
        for stage, step in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            run.log({"stage": stage, "name": "x", "step": step, "loss": 0.5})
        with (tmp_path / "run" / "loss.jsonl").open("a") as file:
            file.write('{"stage": 1, "st')
        run.forget_after(1, 1)
        run.log({"stage": 1, "name": "x", "step": 1, "loss": 0.25})
        assert [(r["stage"], r["step"], r["loss"]) for r in run.losses()] == [
            (0, 0, 0.5), (0, 1, 0.5), (1, 0, 0.5), (1, 1, 0.25),
        ]  # fmt: skip


def test_the_curve_is_a_picture_of_the_losses(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    with RunFolder.create(tmp_path / "run", {}) as run:
        run.plot()
        assert not (tmp_path / "run" / "loss.svg").exists()  # no losses yet
        for step in range(1000):
            run.log({"stage": step // 500, "name": "a & b", "step": step % 500, "loss": 2.0 - step / 1000})
        run.plot()
    root = ElementTree.parse(tmp_path / "run" / "loss.svg").getroot()
    curves = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(curves) == 2
    heights = [float(pair.split(",")[1]) for pair in curves[0].attrib["points"].split()]
    assert heights == sorted(heights) and len(heights) <= 400  # the loss falls: y grows downwards


def test_replacing_a_file_leaves_the_old_one_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file(tmp_path / "a", "old")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a"]
