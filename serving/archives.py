"""Folders that clients send: a .zip, unpacked where nothing in it can lead out, and no larger than it may be."""

import io
import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from runtime.errors import UserError
from runtime.files import read_ordinary, sync_folder, sync_tree

SUFFIX = ".zip"
"""Ending of the name of a file that stands for a folder."""

FILES, SIZE = 5000, 2 * 2**30
"""Most files in a folder, and bytes of all of them."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in an archive: the same folder has to give the same bytes."""


def content_of(path: Path) -> tuple[str, bytes]:
    """Return name and content of a file as it is sent; of a folder those of an archive, the same bytes each time.

    Raises:
        UserError: there is nothing of this name, or it is too much.
    """
    try:
        return (
            (f"{path.resolve().name}{SUFFIX}", pack(path)) if path.is_dir() else (path.name, read_ordinary(path, SIZE))
        )
    except OSError as error:
        raise UserError(f"'{path}': expected a file or a folder, got none ({error.strerror})") from None


def pack(folder: Path) -> bytes:
    """Return a .zip file of a folder, the folder's own name in it.

    Raises:
        UserError: it holds nothing, or too much.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if len(paths) > FILES or sum(path.stat().st_size for path in paths) > SIZE:
        raise UserError(f"'{folder}': expected at most {FILES} files and {SIZE} bytes, got more; send less")
    if not paths:
        raise UserError(f"'{folder}': expected a folder with files, got an empty one")
    stream = io.BytesIO()
    # Stored as they are: pictures are compressed already, and compressors of two machines may differ.
    with zipfile.ZipFile(stream, "w") as packed:
        for path in paths:
            name = f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}"
            packed.writestr(zipfile.ZipInfo(name, _DATE), path.read_bytes())
    return stream.getvalue()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a new folder and return it, or the one folder in it.

    Args:
        archive: the .zip file.
        folder: where; it is made, whole or not at all.

    Raises:
        UserError: it is no .zip file, is too large, or a name in it leads out of the folder.
    """
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            _unpack_whole(archive, part)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sync_folder(folder.parent)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _unpack_whole(archive: Path, folder: Path) -> None:
    """Unpack an archive into a new folder and bring that to the disk; arguments as of `unpack`."""
    try:
        with zipfile.ZipFile(archive) as packed:
            _check(packed)
            _extract(packed, folder)
        sync_tree(folder)  # after a power cut, it must not come back with empty files
    except UserError:
        raise
    # Each kind of compression brings its own error for damaged data, and a name may be none that a system takes.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"'{archive.name}': expected a .zip file of a folder, got none ({error})") from None


def _check(packed: zipfile.ZipFile) -> None:
    """Refuse what is too much, and names that lead elsewhere."""
    entries = packed.infolist()
    if len(entries) > FILES or sum(entry.file_size for entry in entries) > SIZE:
        raise UserError(f"archive: expected at most {FILES} files and {SIZE} bytes, got more; send less")
    if not entries:
        raise UserError("archive: expected a folder with files, got nothing in it")
    for entry in entries:
        parts = Path(entry.filename).parts
        link = stat.S_ISLNK(entry.external_attr >> 16)
        if link or ".." in parts or entry.filename.startswith(("/", "\\")) or "\\" in entry.filename:
            raise UserError(f"archive: expected names inside a folder, got {entry.filename!r:.80}")


def _extract(packed: zipfile.ZipFile, folder: Path) -> None:
    """Write the files, no more bytes of each than it declares: what it declares may be a lie."""
    for entry in packed.infolist():
        path = folder / entry.filename
        if entry.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(entry) as source, path.open("wb") as target:
            left = entry.file_size
            while part := source.read(min(1 << 20, left + 1)):
                left -= len(part)
                if left < 0:
                    raise UserError(f"archive: {entry.filename!r:.80} is larger than it declares")
                target.write(part)
    folder.mkdir(exist_ok=True)
