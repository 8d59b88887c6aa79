"""The one writer of bundles: networks are written beside a bundle and become its own in one step.

Networks go into the temporary folder `.NAME.partial` beside the bundle `NAME`. Where there is no bundle yet, that
folder becomes the bundle by one rename. Else each new network moves into the bundle under a name that is free,
bundle.json is replaced, and then the files go that it no longer lists. So whoever reads the bundle, or kills the
writer, at any moment finds the whole old bundle or the whole new one. What no writer wrote, no writer removes.
"""

import errno
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from export.write.network import NetworkFiles
from runtime.engines.backends.plans import list_plans
from runtime.engines.bundle import read_manifest
from runtime.engines.bundle.manifest import Manifest
from runtime.engines.spec import WEIGHTS, EngineSpec
from runtime.engines.strict_json import GREATEST_JSON
from runtime.engines.verified_files import describe_bytes, describe_file, read_limited
from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file, sync_folder, sync_tree
from runtime.locking import lock_folder

JOURNAL = "journal.json"
"""File of the temporary folder that names what a change of a bundle moves and may remove, written before it begins."""

SHORT = 12
"""Digits of a network's key in the name of its folder."""


class BundleWriter:
    """Writes networks beside a bundle, then makes them the bundle's."""

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda line: None) -> None:
        """Read the present bundle, and settle what an interrupted writer has left.

        Args:
            folder: of the bundle; it is empty, or not there, where the bundle is new.
            report: called with a line before and after each network.

        Raises:
            UserError: the folder holds something else than a bundle, cannot be written, or another process writes it.
        """
        self.folder, self.report = folder.resolve(), report
        self.work = self.folder.with_name(f".{self.folder.name}.partial")
        read_present(self.folder)  # a folder that is refused gets no other one beside it
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.work, f"bundle '{self.folder}'", "choose another folder")
        except OSError as error:
            raise UserError(f"'{self.folder}' cannot be written: {error.strerror}; choose another folder") from error
        self.manifest = read_present(self.folder)
        self._unchanged: dict[str, str] = {}  # role -> folder of a network that the bundle has already
        self._staged: dict[str, str] = {}  # role -> key of a network in the temporary folder
        self._settle()

    def __enter__(self) -> "BundleWriter":
        return self

    def __exit__(self, *_: object) -> None:
        """Let others write the bundle; networks that were not committed stay for the next writer."""
        if self.work.is_dir() and [path.name for path in self.work.iterdir()] == [".lock"]:
            shutil.rmtree(self.work, ignore_errors=True)
        self._lock.release()

    def has(self, role: str, key: str) -> bool:
        """Return whether a network of a role and a key need not be written again."""
        return self._listed_path(role, key) is not None or self._is_staged(role, key)

    def add(self, role: str, key: str, write: Callable[[Path], EngineSpec]) -> None:
        """Write a network, unless the bundle or an interrupted writer has it whole under the same key.

        Args:
            role: of the network.
            key: hash of all that the network is made of.
            write: writes its folder, whose path it is given, and returns its spec.
        """
        path = self._listed_path(role, key)
        if path is not None:
            self._unchanged[role] = path
            self.report(f"{role}: written before, kept")
            return
        self._staged[role] = key
        if self._is_staged(role, key):
            self.report(f"{role}: written before, kept")
            return
        self.report(f"exporting {role}")
        note = self.work / f"{role}.key"
        note.unlink(missing_ok=True)  # first: what lies there from now on is no whole network
        shutil.rmtree(self.work / role, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)
        spec = write(self.work / role)
        # The note comes last and in one step: a network without one was cut off while it was written.
        replace_file(note, key)
        size = sum(file.size for file in spec.files.values())
        self.report(f"{role}: {size / 2**20:,.1f} MiB")

    def commit(
        self, manifest: Manifest, *, texts: Mapping[str, bytes] | None = None, weights: bytes | None = None
    ) -> None:
        """Make the networks that were added the bundle's.

        Args:
            manifest: everything but the networks that were added; those that it names already stay.
            texts: content of files beside bundle.json for people, such as ATTRIBUTION.md.
            weights: content of the file of weights that several networks use.

        Raises:
            UserError: a file of the same name as a text lies in the folder, and the bundle does not list it.
        """
        if self.manifest is None:
            self._commit_new(manifest, texts or {}, weights)
        else:
            self._commit_change(self.manifest, manifest, texts or {}, weights)
        self.manifest = read_present(self.folder)
        self._unchanged, self._staged = {}, {}

    def _commit_new(self, manifest: Manifest, texts: Mapping[str, bytes], weights: bytes | None) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        for path in self.work.iterdir():  # notes, and networks that another export left here
            if path.name not in self._staged:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        contents = {**texts, **({} if weights is None else {WEIGHTS: weights})}
        for name, content in contents.items():
            (self.work / name).write_bytes(content)
        # A new bundle needs no keys in its folders' names: nobody reads an older network there.
        paths = {role: role for role in self._staged}
        hashes = {name: describe_file(self.work / name) for name in [*contents, *(f"{p}/spec.json" for p in paths)]}
        manifest = replace(manifest, networks=paths, files=hashes)
        # No step of its own is needed: until the rename below nobody takes this folder for a bundle.
        (self.work / "bundle.json").write_text(manifest.to_json(), encoding="utf-8")
        sync_tree(self.work)  # after a power cut, the new name must not stand for empty files
        if self.folder.exists():
            self.folder.rmdir()  # fails unless it is still empty
        self.work.rename(self.folder)
        sync_folder(self.folder.parent)

    def _commit_change(
        self, old: Manifest, manifest: Manifest, texts: Mapping[str, bytes], weights: bytes | None
    ) -> None:
        # Before the journal and before anything moves: a refusal leaves the bundle untouched.
        self._refuse_foreign(old, texts)
        moved = {role: self._free_path(role, key) for role, key in self._staged.items()}
        weights_name = None if weights is None else self._name_weights(old, weights)
        # The old bundle's files and the new weights: which of them go is decided by the bundle.json that is there in
        # the end.
        ours = [*files_of(self.folder, old), *([] if weights_name is None else [weights_name])]
        self.work.mkdir(parents=True, exist_ok=True)
        # Before the first move: from here on a killed writer leaves moved folders that only the journal tells of.
        replace_file(self.work / JOURNAL, json.dumps({"moved": moved, "ours": ours}))
        for role, path in moved.items():
            (self.work / role).rename(self.folder / path)
            sync_tree(self.folder / path)
        if weights is not None and weights_name is not None:
            self._place(weights_name, weights)
        self._replace_texts(old, texts)
        networks = {**manifest.networks, **self._unchanged, **moved}
        # Hashes are read back from the bundle's folder, from what readers will find.
        names = [*texts, *([] if weights_name is None else [weights_name])]
        names += [f"{path}/spec.json" for path in networks.values()]
        hashes = {name: describe_file(self.folder / name) for name in names}
        # Files in a network's folder are hashed anew below, or belong to networks that go.
        stay = {name: file for name, file in manifest.files.items() if "/" not in name}
        manifest = replace(manifest, networks=networks, files={**stay, **hashes})
        self._place("bundle.json", manifest.to_json().encode())  # the one step
        self._settle()
        # Last, since the journal in it is what a next writer would settle by.
        shutil.rmtree(self.work)

    def _settle(self) -> None:
        """Take back what an interrupted change has moved into the bundle, and remove our files that it does not list.

        After a change that came to its end nothing is taken back: bundle.json lists what was moved.
        """
        journal = self.work / JOURNAL
        manifest = read_present(self.folder) if journal.is_file() else None
        if manifest is None:
            return
        entries = json.loads(journal.read_text("utf-8"))
        for role, path in entries["moved"].items():
            # Not listed means that bundle.json was not replaced: the change did not happen.
            if path not in manifest.networks.values() and (self.folder / path).is_dir():
                (self.folder / path).rename(self.work / role)
        listed = set(files_of(self.folder, manifest))
        remove_files(self.folder, [name for name in entries["ours"] if name not in listed])
        # Only now: a writer that is killed while it settles is followed by one that settles again.
        journal.unlink()

    def _listed_path(self, role: str, key: str) -> str | None:
        """Return the folder of a network that the bundle lists under a key, if its files are whole."""
        path = None if self.manifest is None else self.manifest.networks.get(role)
        if path is None or self.manifest is None:
            return None
        # Exporters record their keys; a bundle without a source is found by the hash of its spec.json instead.
        sources = getattr(self.manifest, "source", {}).values()
        keys = {record.get("keys", {}).get(role) for record in sources}
        same = key in keys or self.manifest.files[f"{path}/spec.json"].sha256 == key
        return path if same and is_whole(self.folder / path) else None

    def _is_staged(self, role: str, key: str) -> bool:
        note = self.work / f"{role}.key"
        return note.is_file() and note.read_text() == key and is_whole(self.work / role)

    def _free_path(self, role: str, key: str) -> str:
        """Return a free name in the bundle's folder; a name that exists may be in use, or belong to somebody."""
        path, count = f"{role}-{key[:SHORT]}", 1
        while (self.folder / path).exists():
            count += 1
            path = f"{role}-{key[:SHORT]}-{count}"
        return path

    def _name_weights(self, old: Manifest, weights: bytes) -> str:
        """Return the name of the file of weights: that which the old bundle lists for these bytes, or a new one."""
        stem, suffix = Path(WEIGHTS).stem, Path(WEIGHTS).suffix
        described = describe_bytes(weights)
        # A new name for new bytes: the old bundle.json, and whoever reads by it, stays right until it is replaced.
        same = (name for name, file in old.files.items() if file == described and name.endswith(suffix))
        return next(same, f"{stem}-{described.sha256[:SHORT]}{suffix}")

    def _refuse_foreign(self, old: Manifest, texts: Mapping[str, bytes]) -> None:
        for name, content in texts.items():
            path = self.folder / name
            same = path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
            if name not in old.files and path.exists() and not same:
                raise UserError(
                    f"'{path}': expected no file of this name that bundle.json does not list, got one; it would be "
                    "replaced: move it away, or choose another folder"
                )

    def _replace_texts(self, old: Manifest, texts: Mapping[str, bytes]) -> None:
        """Write the texts. One that the bundle lists with another hash is taken off its list first.

        Readers refuse a bundle in which a file's hash differs from that in bundle.json.
        """
        changed = [
            name for name, content in texts.items() if old.files.get(name) not in (None, describe_bytes(content))
        ]
        if changed:
            files = {name: file for name, file in old.files.items() if name not in changed}
            self._place("bundle.json", replace(old, files=files).to_json().encode())
        for name, content in texts.items():
            self._place(name, content)

    def _place(self, name: str, content: bytes) -> None:
        """Replace a file of the bundle in one step; a killed writer leaves its part in the temporary folder."""
        whole = self.work / "placed"
        replace_file(whole, content)
        whole.replace(self.folder / name)
        sync_folder(self.folder)


def write_bundle(
    folder: Path,
    manifest: Manifest,
    networks: Mapping[str, NetworkFiles],
    texts: Mapping[str, bytes] | None = None,
    weights: bytes | None = None,
) -> None:
    """Write a bundle of networks that are in memory; a reader sees the old one or the whole new one.

    Args:
        folder: where; a bundle that is there is replaced, anything else refused.
        manifest: everything but `networks` and `files`, which are filled in.
        networks: the network for each role.
        texts: content of files beside bundle.json, such as ATTRIBUTION.md.
        weights: content of the file of weights that several networks use.

    Raises:
        UserError: as of `BundleWriter`.
    """
    with BundleWriter(folder) as writer:
        for role, files in networks.items():
            writer.add(role, files.key, files.write)
        writer.commit(manifest, texts=texts, weights=weights)


def read_present(folder: Path) -> Manifest | None:
    """Return the manifest of the bundle in a folder, None where the folder is empty or not there.

    Raises:
        UserError: it holds something else, or is a file.
    """
    remedy = "choose another folder"
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise UserError(f"'{folder}': expected the folder of a bundle, got a file; {remedy}")
    if not (folder / "bundle.json").is_file():
        others = sorted(path.name for path in folder.iterdir())
        if others:
            raise UserError(
                f"'{folder}': expected a bundle, an empty folder or none, got other files ({others[0]!r:.80}); {remedy}"
            )
        return None
    where = "bundle.json"
    try:
        return read_manifest(read_limited(folder / "bundle.json", GREATEST_JSON, where), where)
    except UserError as error:
        raise UserError(
            f"'{folder}': expected a bundle, got a bundle.json that is none ({error}); {remedy}, or delete this one"
        ) from None


def is_whole(folder: Path) -> bool:
    """Return whether a network's folder has a spec.json, and every file that it names with the same hash."""
    try:
        spec = EngineSpec.from_json(read_ordinary(folder / "spec.json", GREATEST_JSON), "spec.json")
    except (OSError, UserError):
        return False
    own = {name: file for name, file in spec.files.items() if not file.bundle}
    return all((folder / name).is_file() and describe_file(folder / name) == file for name, file in own.items())


def files_of(folder: Path, manifest: Manifest) -> list[str]:
    """Return the relative paths of all files of a bundle but bundle.json; a damaged spec.json's own are left out.

    Files that another bundle has are not of this one.

    Raises:
        OSError: a spec.json is there and cannot be read.
    """
    names = list(manifest.files)
    for path in manifest.networks.values():
        try:
            text = read_ordinary(folder / path / "spec.json", GREATEST_JSON)
        except OSError as error:
            # Another error may pass: without that network's files on the list they would stay for ever.
            if error.errno not in (None, errno.ENOENT, errno.ENOTDIR):
                raise
            continue
        with suppress(UserError):
            spec = EngineSpec.from_json(text, "spec.json")
            names += [f"{path}/{name}" for name, file in spec.files.items() if not file.bundle]
    return names


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a bundle by their relative paths; folders go with their plans, unless somebody's files are in."""
    names = list(names)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for path in {(folder / name).parent for name in names} - {folder}:
        plans = path / "plans"
        for plan in list_plans(plans):  # they were built of the model that has just gone
            (plans / f"{plan.key.stem}.plan").unlink(missing_ok=True)
            (plans / f"{plan.key.stem}.json").unlink(missing_ok=True)
        for empty in (plans, path):
            with suppress(OSError):  # not empty, or not there
                empty.rmdir()
