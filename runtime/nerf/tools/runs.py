"""What the commands on a finished run have in common: which run, and its field."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import tyro

from runtime.command.options import parse_options
from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.field.results import Field
    from runtime.nerf.scenes import Split


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Which run."""

    run: Annotated[Path, tyro.conf.Positional] = Path()
    """Run folder, such as runs/capture."""


OptionsT = TypeVar("OptionsT", bound=RunOptions)


def parse_run(kind: type[OptionsT], command: str, arguments: list[str]) -> OptionsT:
    """Return the options of a command on a run.

    Args:
        kind: dataclass of the options.
        command: such as "render".
        arguments: words of the command line behind it.

    Raises:
        UserError: no run is named, or a number is out of range.
    """
    options = parse_options(kind, f"runtime.nerf {command}", arguments=arguments)
    if options.run == Path():
        raise UserError("run: expected a run folder, got none; `python -m runtime.nerf CAPTURE` makes one")
    return options


def load_run(folder: Path) -> "tuple[Field, Split]":
    """Return the field of a run's last checkpoint, and the capture that it is of.

    Raises:
        UserError: the folder is no run of `runtime.nerf`, or it has no checkpoint yet.
    """
    from runtime.command.settings import from_json
    from runtime.loop.folder import RunFolder, read_config
    from runtime.nerf.config import Config as Request
    from runtime.nerf.fields import restore_any
    from runtime.nerf.scenes import Split

    stored = read_config(folder)
    if stored.get("method") != "nerf":
        raise UserError(f"'{folder}': expected a run of runtime.nerf, got one of {stored.get('method')!r:.60}")
    request = from_json(Request, stored.get("config"), f"'{folder / 'config.json'}'")
    with RunFolder.reopen(folder) as run:
        checkpoint = run.load()
    if checkpoint is None:
        raise UserError(f"'{folder}': the run has no checkpoint yet; resume it with --resume {folder}")
    return restore_any(request, checkpoint.scene), Split.of(request)
