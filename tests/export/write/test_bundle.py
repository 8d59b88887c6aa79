"""The writer of bundles: dead at every file operation it leaves a whole bundle; what it did not write stays."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from export.write import bundle as module
from export.write.bundle import BundleWriter, write_bundle
from export.write.network import NetworkFiles
from runtime.engines.bundle import Bundle
from runtime.engines.bundle.manifest import Manifest
from runtime.engines.spec import WEIGHTS
from runtime.errors import UserError
from tests.bundles import MANIFEST, SPECS

ROLES = ("denoiser", "latent_decoder")
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree", "tempfile.mkstemp"}
"""File operations at which a process can be killed; reading is one of them, which does no harm."""


def networks(version: str, roles: tuple[str, ...] = ROLES) -> dict[str, NetworkFiles]:
    """Networks whose files are texts: the writer and the hashes of a bundle look into none."""
    return {
        role: NetworkFiles(SPECS[role], {"model.onnx": f"{role} {version}".encode(), "more.json": b"{}"})
        for role in roles
    }


def write(folder: Path, version: str, roles: tuple[str, ...] = ROLES) -> None:
    texts = {"ATTRIBUTION.md": version.encode()}
    write_bundle(folder, MANIFEST, networks(version, roles), texts, weights=f"weights {version}".encode())


def version_of(folder: Path) -> str:
    """Return the version of a bundle, all of whose files have to be there, whole and of one version."""
    bundle = Bundle.load(folder)
    models = {role: bundle.read_file(role, "model.onnx").decode() for role in bundle.specs}
    (version,) = {text.removeprefix(f"{role} ") for role, text in models.items()}
    assert bundle.shared_weights() == {WEIGHTS: f"weights {version}".encode()}
    return version


def listed(folder: Path) -> set[str]:
    """Return the files that a bundle lists, and bundle.json."""
    bundle = Bundle.load(folder)
    files = {"bundle.json", *bundle.manifest.files}
    return files | {
        f"{bundle.manifest.networks[role]}/{name}" for role, spec in bundle.specs.items() for name in spec.files
    }


def present(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run_until(work: Callable[[], None], root: Path, at: int) -> int:
    """Run work in a process of its own that is killed at the n-th file operation below a folder; return how many."""
    count = root.parent / "count"
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work raised"
        return int(count.read_text()) if count.is_file() else 0
    done = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal done
        if event not in EVENTS or str(root) not in os.fsdecode(str(arguments[0])):
            return
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    sys.addaudithook(watch)
    try:
        work()
        at = -1  # count what follows, but die no more
        count.write_text(str(done))
        os._exit(0)
    except BaseException:
        os._exit(1)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is killed, which takes fork")


@needs_fork
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_operation_the_bundle_is_the_old_or_the_new_one(every: int, tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder = root / "tiny"

    def prepare() -> None:
        if folder.exists():
            for path in sorted(root.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        write(folder, "one")
        (folder / "denoiser" / "notes.txt").write_text("mine")

    prepare()
    total = run_until(lambda: write(folder, "two"), root, 10**9)
    assert total > 40
    seen = set()
    for at in range(0, total, every):
        prepare()
        run_until(lambda: write(folder, "two"), root, at)
        seen.add(version_of(folder))
        run_until(lambda: write(folder, "two"), root, 10**9)  # the next export finds what the dead one left
        assert version_of(folder) == "two", at
        assert present(folder) == listed(folder) | {"denoiser/notes.txt"}, at
        assert [path.name for path in root.iterdir()] == ["tiny"], at
    assert seen == {"one", "two"}


@needs_fork
def test_killed_at_any_operation_a_first_bundle_is_whole_or_not_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    folder = root / "tiny"
    at, seen = 0, set()
    while True:
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.mkdir()
        run_until(lambda: write(folder, "one"), root, at)
        there = (folder / "bundle.json").is_file()
        assert not there or version_of(folder) == "one"
        seen.add(there)
        write(folder, "one")
        assert present(folder) == listed(folder)
        if there:
            break
        at += 1
    assert seen == {False, True}


def test_networks_that_stay_are_not_written_again_and_others_go(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write(folder, "one")
    before = (folder / "denoiser" / "model.onnx").stat().st_ino
    write(folder, "one", ("denoiser", "text_embedder"))
    assert (folder / "denoiser" / "model.onnx").stat().st_ino == before
    assert set(Bundle.load(folder).specs) == {"denoiser", "text_embedder"}
    assert present(folder) == listed(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_damaged_network_is_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write(folder, "one")
    (folder / "denoiser" / "model.onnx").write_bytes(b"half")
    with pytest.raises(UserError, match=r"denoiser/model\.onnx is truncated"):
        Bundle.load(folder)
    write(folder, "one")
    assert version_of(folder) == "one"
    assert present(folder) == listed(folder)


@pytest.mark.parametrize("name", ["thesis.tex", "bundle.json"])
def test_a_folder_that_is_no_bundle_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / name).write_text("mine")
    with pytest.raises(UserError, match=r"'.*home': expected a bundle, .*; choose another folder"):
        write(tmp_path / "home", "one")
    assert [path.name for path in tmp_path.rglob("*")] == ["home", name]
    assert (tmp_path / "home" / name).read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("mine")
    with pytest.raises(UserError, match="expected the folder of a bundle, got a file; choose another folder"):
        write(tmp_path / "tiny", "one")


def test_foreign_files_inside_a_bundle_stay(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write(folder, "one")
    for name in ("notes.txt", "denoiser/notes.txt", "denoiser/plans/notes.txt", "figures/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    write(folder, "two")
    foreign = {"notes.txt", "denoiser/notes.txt", "denoiser/plans/notes.txt", "figures/a.png"}
    assert present(folder) == listed(folder) | foreign
    assert version_of(folder) == "two"


def test_a_foreign_text_of_the_same_name_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_bundle(folder, MANIFEST, networks("one"))
    (folder / "ATTRIBUTION.md").write_text("mine")
    with pytest.raises(UserError, match=r"ATTRIBUTION\.md': expected no file of this name that bundle\.json"):
        write_bundle(folder, MANIFEST, networks("two"), {"ATTRIBUTION.md": b"ours"})
    assert (folder / "ATTRIBUTION.md").read_text() == "mine"
    assert Bundle.load(folder).read_file("denoiser", "model.onnx") == b"denoiser one"


def test_networks_are_added_to_a_bundle_by_its_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write(folder, "one")
    lines: list[str] = []
    writer = BundleWriter(folder, lines.append)
    before = writer.manifest
    assert isinstance(before, Manifest)
    new = networks("one", ("text_embedder",))["text_embedder"]
    writer.add("text_embedder", new.key, new.write)
    writer.commit(before)
    assert set(Bundle.load(folder).specs) == {*ROLES, "text_embedder"}
    assert version_of(folder) == "one"
    assert lines == ["exporting text_embedder", "text_embedder: 0.0 MiB"]


def test_the_key_of_files_is_the_hash_of_their_spec(tmp_path: Path) -> None:
    files = networks("one")["denoiser"]
    files.write(tmp_path / "denoiser")
    document = json.loads((tmp_path / "denoiser" / "spec.json").read_text())
    assert set(document["files"]) == {"model.onnx", "more.json"}
    write_bundle(tmp_path / "tiny", MANIFEST, {"denoiser": files})
    assert Bundle.load(tmp_path / "tiny").manifest.files["denoiser/spec.json"].sha256 == files.key
    other = replace(files, files={**files.files, "more.json": b"[]"})
    assert other.key != files.key


def test_a_disk_that_fails_ends_the_export_and_the_next_one_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny"
    write(folder, "one")
    reads = module.read_ordinary

    def failing(path: Path, limit: int) -> bytes:
        if path == folder / "denoiser" / "spec.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return reads(path, limit)

    monkeypatch.setattr(module, "read_ordinary", failing)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write(folder, "two")
    assert version_of(folder) == "one"
    monkeypatch.undo()
    write(folder, "two")
    assert version_of(folder) == "two" and present(folder) == listed(folder)
