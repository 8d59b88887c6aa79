"""Results of judges, a JSON line a drawing and judge: all figures are computed from these lines."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from runtime.errors import UserError

LONGEST = 2**30
"""Most bytes of a file of records that is read."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One drawing by one judge."""

    job: str
    """Hash of everything that decides the drawing."""
    prompt: str
    method: str
    samples: int | None
    """K; None where nothing is sampled."""
    seed: int
    sha256: str
    """Of the SVG, or of a raster sample's PNG."""
    judge: str
    captions: str
    """Hash of the captions, in order."""
    similarity: list[float]
    """With every caption; for an aesthetics head its one score."""


def captions_digest(captions: Sequence[str]) -> str:
    """Return what tells a list of captions from another one."""
    return hashlib.sha256("\n".join(captions).encode()).hexdigest()[:16]


class Keyed(Protocol):
    """What is stored once for each drawing, judge and list of captions: a dataclass with these fields."""

    @property
    def job(self) -> str:
        """Hash of everything that decides the drawing."""
        ...

    @property
    def sha256(self) -> str:
        """Of the drawing."""
        ...

    @property
    def judge(self) -> str:
        """What tells one judge from another."""
        ...

    @property
    def captions(self) -> str:
        """Hash of the captions, in order."""
        ...


R = TypeVar("R", bound=Keyed)


class Records(Generic[R]):
    """The records in a file, to which more are appended.

    A line that a kill has cut in half does not count, and the next record begins on a line of its own.
    """

    def __init__(self, path: Path, kind: Callable[..., R] = Record) -> None:
        """Read what is there.

        Args:
            path: the file; it need not exist.
            kind: the records' dataclass.

        Raises:
            UserError: the file is too long to be one of ours, or cannot be read.
        """
        self.path = path
        self._records: dict[tuple[str, str, str, str], R] = {}
        self._torn = False
        try:
            if path.is_file() and path.stat().st_size > LONGEST:
                raise UserError(f"'{path}' has more than {LONGEST} bytes; give another --out")
            text = path.read_text("utf-8", "replace") if path.is_file() else ""
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}; give another --out") from error
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                self._keep(kind(**json.loads(line)))
            except (ValueError, TypeError):
                continue

    def find(self, job: str, sha256: str, judge: str, captions: str) -> R | None:
        """Return a judge's result of a drawing, as it is now and beside these captions; None if nothing."""
        return self._records.get((job, sha256, judge, captions))

    def add(self, record: R) -> None:
        """Store a record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._torn else "") + json.dumps(asdict(cast(Any, record))) + "\n")
        self._torn = False
        self._keep(record)

    def _keep(self, record: R) -> None:
        self._records[record.job, record.sha256, record.judge, record.captions] = record
