"""Files of a bundle, read only as far as their spec allows and refused where size or hash differ."""

import hashlib
from pathlib import Path

from runtime.engines.spec import FileSpec
from runtime.errors import UserError

REMEDY = "copy the bundle again from its source, or reinstall the package if it came with it"


def read_limited(path: Path, limit: int, where: str) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        UserError: it is missing, not a file, unreadable, or longer.
    """
    try:
        # not left to open(), which would wait forever for a writer to a named pipe
        if not path.is_file():
            raise UserError(
                f"{where} is missing: expected a file, got {'a folder' if path.is_dir() else 'none'}; {REMEDY}"
            )
        with path.open("rb") as file:
            # one byte beyond the limit shows that there are more; the size could be out of date by now
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}; check its permissions") from None
    if len(content) > limit:
        raise UserError(f"{where}: expected at most {limit} bytes, got {path.stat().st_size}; {REMEDY}")
    return content


def read_verified(path: Path, spec: FileSpec, where: str) -> bytes:
    """Return the content of a file that has the size and the hash that its spec names.

    Raises:
        UserError: it is missing, unreadable, of another size, or of another hash.
    """
    check_size(path, spec, where)
    # read once, then hashed: a second look at the file could find another content
    content = read_limited(path, spec.size, where)
    _compare(hashlib.sha256(content).hexdigest(), spec, where)
    return content


def verify_file(path: Path, spec: FileSpec, where: str) -> None:
    """Check a file as `read_verified` does, without holding its content."""
    check_size(path, spec, where)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}; check its permissions") from None
    _compare(digest, spec, where)


def describe_file(path: Path) -> FileSpec:
    """Return the size and the hash of a file."""
    with path.open("rb") as file:
        return FileSpec(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def describe_bytes(content: bytes) -> FileSpec:
    """Return the size and the hash of a file's content."""
    return FileSpec(len(content), hashlib.sha256(content).hexdigest())


def check_size(path: Path, spec: FileSpec, where: str) -> None:
    """Refuse a file that is missing or of another size than its spec names, with a `UserError`."""
    if not path.is_file():
        got = "a folder" if path.is_dir() else "none"
        raise UserError(f"{where} is missing: expected a file of {spec.size} bytes, got {got}; {REMEDY}")
    # before any hash: it costs no reading, and tells a truncated file from an edited one
    size = path.stat().st_size
    if size != spec.size:
        what = "truncated" if size < spec.size else "too long"
        raise UserError(f"{where} is {what}: expected {spec.size} bytes, got {size}; {REMEDY}")


def _compare(digest: str, spec: FileSpec, where: str) -> None:
    if digest != spec.sha256:
        raise UserError(f"{where} was edited: expected SHA-256 {spec.sha256}, got {digest}; {REMEDY}")
