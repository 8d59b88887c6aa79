"""TensorRT plans in a bundle: what each was built of and for, its hash, and who may build it now.

A plan is native code for one GPU architecture. `plans/<stem>.plan` in a network's folder comes with `<stem>.json`,
which says what it was built of (hashes of the model and of its weights, ranges), by which TensorRT, for which compute
capability and in which precision, and the SHA-256 of the plan. Only content whose hash was checked leaves this module.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from runtime.engines.precision import Compute
from runtime.engines.spec import FORMAT, EngineSpec, FileSpec, check_format
from runtime.engines.strict_json import GREATEST_JSON, check_fields, parse_object
from runtime.engines.verified_files import read_limited
from runtime.errors import UserError
from runtime.files import replace_file

EDITIONS = ("tensorrt_rtx", "tensorrt")
"""Kinds of TensorRT; neither can load the other's plans."""

# these become parts of a file name, and may come from a stranger's document: no slash, no leading dot
_PATTERNS = {
    "network": re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}"),
    "source": re.compile(r"[0-9a-f]{64}"),
    "edition": re.compile("|".join(EDITIONS)),
    "version": re.compile(r"[0-9][0-9A-Za-z.]{0,39}"),
    "capability": re.compile(r"sm[0-9]{2,3}"),
    "precision": re.compile("|".join(Compute)),
}
_WORDS = {
    "network": "network",
    "source": "model and weights",
    "edition": "TensorRT edition",
    "version": "TensorRT version",
    "capability": "compute capability",
    "precision": "precision",
}
# between two tries at a lock, in seconds: far less than a build takes
_BEAT_S = 0.2


@dataclass(frozen=True, kw_only=True)
class PlanKey:
    """What a plan is built of and for; one that differs in anything is another plan."""

    network: str
    """Name of the network, as its spec says."""
    source: str
    """Hash of the model, of the files with its weights, and of its spec: `hash_source`."""
    edition: str
    """One of `EDITIONS`."""
    version: str
    """Version of TensorRT."""
    capability: str
    """Compute capability of the GPU, such as sm89."""
    precision: Compute
    """What the plan computes in."""

    @property
    def stem(self) -> str:
        """Name of the plan's files, without suffix."""
        # 16 digits keep the name short; a reader compares the whole hash in the document
        return "-".join((self.network, self.capability, self.precision, self.edition, self.version, self.source[:16]))

    def __str__(self) -> str:
        """Return the plan's name in messages: `denoiser for sm89 in fp16 (tensorrt_rtx 1.7.1.116)`."""
        return f"{self.network} for {self.capability} in {self.precision} ({self.edition} {self.version})"


@dataclass(frozen=True)
class PlanDocument:
    """The content of a plan's JSON file."""

    key: PlanKey
    """What the plan is built of and for."""
    file: FileSpec
    """Size and hash of the plan."""

    def to_json(self) -> str:
        """Return the document's text."""
        return json.dumps({"format": FORMAT, **asdict(self.key), **self.file.to_json()}, indent=1) + "\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "PlanDocument":
        """Return what a document says.

        Args:
            data: its content.
            where: name of the file, for messages.

        Raises:
            UserError: not JSON, from a newer version, or a field is missing, unknown or makes no sense.
        """
        document = parse_object(data, where)
        check_format(document, where)
        if "edition" not in document and "flavour" in document:  # what earlier versions called it
            document["edition"] = document.pop("flavour")
        kinds = dict.fromkeys(_PATTERNS, str) | {"format": int, "size": int, "sha256": str}
        check_fields(document, where, kinds)
        for name, pattern in _PATTERNS.items():
            if not pattern.fullmatch(document[name]):
                raise UserError(f"{where}: field {name!r}: expected {pattern.pattern}, got {document[name]!r:.80}")
        file = FileSpec.from_json({name: document[name] for name in ("size", "sha256")}, where)
        key = {name: document[name] for name in _PATTERNS} | {"precision": Compute(document["precision"])}
        return cls(PlanKey(**key), file)


def hash_source(spec: EngineSpec, graph: str, shared: Mapping[str, FileSpec] | None = None) -> str:
    """Return the hash of all that a plan is built of: a model, every file of weights near it, and the spec's tensors.

    Args:
        spec: the network; its `files` have hashes.
        graph: name of the model among them.
        shared: files of weights elsewhere in the bundle.

    Raises:
        UserError: the network has no such file.
    """
    if graph not in spec.files:
        raise UserError(f"engine '{spec.name}': the bundle has no {graph}; export it again")
    # neither notes nor other graphs: a plan stays valid when they change
    weights = {name: file for name, file in spec.files.items() if name == graph or name.endswith(".safetensors")}
    document = {
        # a network's own weights hide the bundle's of the same name, as they do when a graph is read
        "files": {name: file.sha256 for name, file in sorted({**(shared or {}), **weights}.items())},
        "graph": graph,
        "tensors": [tensor.to_json() for tensor in (*spec.inputs, *spec.outputs)],
        "ranges": {name: list(sizes) for name, sizes in sorted(spec.ranges.items())},
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def read_plan(folder: Path, key: PlanKey) -> bytes:
    """Return a plan's content, with hash and key checked.

    Args:
        folder: the network's `plans` folder.
        key: what the plan has to be built of and for.

    Raises:
        UserError: there is none, it was built of or for something else, or it is truncated or edited.
    """
    document = _document(folder, key)
    path, where = folder / f"{key.stem}.plan", f"plan '{folder / key.stem}.plan'"
    # a missing plan counts as one of 0 bytes, since the remedy is to build it, not to copy the bundle.
    # The bytes that are hashed are those that TensorRT gets, whatever becomes of the file meanwhile
    content = read_limited(path, document.file.size, where) if path.is_file() else b""
    if len(content) != document.file.size:
        raise UserError(
            f"{where} is truncated: expected {document.file.size} bytes, got {len(content)}; {_remedy(key)}"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != document.file.sha256:
        raise UserError(f"{where} was edited: expected SHA-256 {document.file.sha256}, got {digest}; {_remedy(key)}")
    return content


def _document(folder: Path, key: PlanKey) -> PlanDocument:
    path = folder / f"{key.stem}.json"
    if not path.is_file():
        near = [str(other.key) for other in list_plans(folder)]
        raise UserError(f"no plan of {key}: there is {', '.join(near[:8]) or 'none'}; {_remedy(key)}")
    where = f"plan document '{path}'"
    document = PlanDocument.from_json(read_limited(path, GREATEST_JSON, where), where)
    # a name proves nothing: a renamed file would be native code of another model, or for another GPU
    for name, expected in asdict(key).items():
        got = getattr(document.key, name)
        if got != expected:
            raise UserError(
                f"plan '{folder / key.stem}.plan' is of another {_WORDS[name]}: expected {expected}, got {got}; "
                f"{_remedy(key)}"
            )
    return document


def _remedy(key: PlanKey) -> str:
    return f"build it with: python -m export build BUNDLE --target {key.capability} --precision {key.precision}"


def list_plans(folder: Path) -> list[PlanDocument]:
    """Return the documents of a `plans` folder that can be read, by name; their plans are not opened."""
    documents = []
    for path in sorted(folder.glob("*.json")):
        try:
            documents.append(PlanDocument.from_json(read_limited(path, GREATEST_JSON, str(path)), str(path)))
        except UserError:  # one damaged document must not hide the sound ones
            continue
    return documents


def write_plan(folder: Path, key: PlanKey, content: bytes | memoryview) -> Path:
    """Write a plan and its document, each whole or not at all; return the plan's path.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key.stem}.plan"
    replace_file(path, content)
    file = FileSpec(len(content), hashlib.sha256(content).hexdigest())
    # last: a process that dies before leaves a plan without a document, or with one that its hash does not match
    replace_file(folder / f"{key.stem}.json", PlanDocument(key, file).to_json())
    return path


def remove_stale(folder: Path, key: PlanKey) -> list[str]:
    """Remove the plans that differ from a key in the model alone, which nothing can use; return their files' names."""
    stale = [document.key for document in list_plans(folder) if document.key != key]
    stale = [other for other in stale if replace(other, source=key.source) == key]
    for other in stale:
        # the document first: a process that dies in between leaves a plan that nothing reads
        for suffix in (".json", ".plan"):
            (folder / f"{other.stem}{suffix}").unlink(missing_ok=True)
    return [f"{other.stem}.plan" for other in stale]


@contextmanager
def building(folder: Path, key: PlanKey, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a plan while it is built; a second process waits until the first has ended.

    The lock is the kernel's, so that a process that is killed leaves none; its file goes when the plan is done.

    Args:
        folder: the network's `plans` folder, which is made.
        key: the plan.
        wait: called once where another process is building it.

    Raises:
        OSError: the folder cannot be written, or its file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, reported = folder / f".{key.stem}.lock", False
    while (file := _try_lock(path)) is None:
        if not reported:
            wait()
        reported = True
        time.sleep(_BEAT_S)
    with file:
        try:
            yield
        finally:
            # removed before it is unlocked: a process that then locks it sees that it is no longer in place
            with suppress(OSError):  # Windows keeps a file that is open
                path.unlink()


def _try_lock(path: Path) -> IO[bytes] | None:
    """Return the locked file, or None where another process has it or has just taken it away."""
    file = path.open("ab")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # the last owner may have removed the file since it was opened, and a third process may hold a new one
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass  # locked on POSIX, locked on Windows, removed between two looks: in each case the caller tries again
    except BaseException:
        file.close()
        raise
    file.close()
    return None
