"""Icon sets: which, and how they come into a folder."""

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import UserError


@dataclass(frozen=True)
class IconSet:
    """A package of the npm registry."""

    package: str
    version: str

    @property
    def folder(self) -> str:
        """Its folder's name."""
        return f"{self.package.replace('@', '').replace('/', '-')}-{self.version}"


SETS = (
    IconSet("flag-icons", "7.5.0"),
    IconSet("circle-flags", "2.8.3"),
    IconSet("devicon", "2.17.0"),
    IconSet("cryptocurrency-icons", "0.18.1"),
    IconSet("super-tiny-icons", "0.6.0"),
    IconSet("payment-icons", "1.2.1"),
    IconSet("material-icon-theme", "5.38.1"),
    IconSet("weather-icons-svg", "0.0.7"),
    IconSet("@twemoji/svg", "15.0.0"),
    IconSet("openmoji", "17.0.0"),
    IconSet("feather-icons", "4.29.2"),
    IconSet("bootstrap-icons", "1.13.2"),
    IconSet("heroicons", "2.2.0"),
    IconSet("ionicons", "8.1.0"),
    IconSet("@fortawesome/fontawesome-free", "7.3.1"),
    IconSet("@primer/octicons", "19.42.0"),
)
"""Sets of one colour and of many, drawn by hand and by Illustrator, Inkscape, Figma and scripts."""


def download(folder: Path) -> None:
    """Bring the SVG files of all sets into folders of their own, but for those that are there.

    Raises:
        UserError: npm is missing or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for each in SETS:
        if not (folder / each.folder).is_dir():
            _unpack(_packed(each, folder), folder / each.folder)


def _packed(each: IconSet, folder: Path) -> Path:
    """Return the archive of a package, freshly downloaded."""
    command = ["npm", "pack", "--silent", f"{each.package}@{each.version}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise UserError("npm: expected the program, got none; install Node.js") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"npm pack {each.package}@{each.version} failed: {error.stderr.strip()[-300:]}") from None
    return folder / done.stdout.split()[-1]


def _unpack(archive: Path, target: Path) -> None:
    """Write the SVG files of an archive into a folder, and remove the archive."""
    partial = target.with_name(f"{target.name}.partial")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.isfile() and member.name.endswith(".svg")]
        tar.extractall(partial, members, filter="data")
    partial.rename(target)
    archive.unlink()


def files_of(folder: Path, most: int) -> list[Path]:
    """Return up to `most` SVG files below a folder, evenly spaced in the order of their names."""
    files = sorted(folder.rglob("*.svg"))
    return [files[index * len(files) // most] for index in range(most)] if len(files) > most else files
