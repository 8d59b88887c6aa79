"""One command line of one method: which options choose the defaults of the others, and one parse with these."""

import argparse
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import tyro

from runtime.command.method import Method
from runtime.command.options import parse_options
from runtime.command.placement import DEFAULT_PLACEMENT, Placement
from runtime.command.program import program_name
from runtime.command.settings import blank, with_defaults
from runtime.errors import UserError

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every command takes besides the options of its method."""

    resume: Path | None = None
    """Run folder, such as runs/a-red-apple, to resume; its own options hold, only --out may be changed."""
    again: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw anew what an earlier run has drawn already, in a run folder of its own."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace files of these names, whoever wrote them; never one that is read."""
    quiet: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show no progress."""


@dataclass(frozen=True, kw_only=True)
class _Plain(Generic[C]):
    config: tyro.conf.OmitArgPrefixes[C]
    options: tyro.conf.OmitArgPrefixes[Options] = Options()


@dataclass(frozen=True, kw_only=True)
class _WithNetworks(Generic[C]):
    config: tyro.conf.OmitArgPrefixes[C]
    placement: tyro.conf.OmitArgPrefixes[Placement] = DEFAULT_PLACEMENT
    options: tyro.conf.OmitArgPrefixes[Options] = Options()
    list_bundles: tyro.conf.FlagCreatePairsOff[bool] = False
    """List the installed bundles and exit."""


@dataclass(frozen=True)
class Parsed(Generic[C]):
    """A command line."""

    config: C
    placement: Placement
    options: Options


def selected(method: Method[Any], arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options that decide the defaults of the others; None for those that are not given.

    Raises:
        UserError: one of them has no value.
    """
    # argparse looks for these few options only and leaves the rest to tyro, whose defaults depend on them.
    # Abbreviations are off, because tyro knows none: --pre would mean one thing here and an error there.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--resume", type=Path)
    if method.kind is not None:
        parser.add_argument("--list-bundles", "--list_bundles", action="store_true")
        parser.add_argument("--bundle")
    for name in method.selectors:
        parser.add_argument(f"--{name}")
    try:
        return parser.parse_known_args(list(arguments))[0]
    except argparse.ArgumentError as error:
        program = program_name(f"runtime.{method.name}")
        raise UserError(f"{error}; {program} --help lists the options") from error


def parse(
    method: Method[C],
    arguments: Sequence[str],
    *,
    early: argparse.Namespace,
    defaults: dict[str, Any] | None = None,
    stored: C | None = None,
    placement: Placement = DEFAULT_PLACEMENT,
) -> Parsed[C]:
    """Return what a command line says; tyro ends the process with code 2 where it makes no sense.

    Args:
        method: whose options they are.
        arguments: the words of the command line.
        early: the options that decide the defaults of the others.
        defaults: the bundle's own values.
        stored: configuration of the run that is resumed, in place of the method's defaults.
        placement: the default placement.
    """
    config = stored
    if config is None:
        chosen = {name: getattr(early, name) for name in method.selectors}
        config = method.default(chosen) if method.default else blank(method.config, tyro.MISSING)
        config = with_defaults(config, defaults or {}, f"bundle {getattr(early, 'bundle', None)!r}")
    module = f"runtime.{method.name}"
    settings = {"arguments": arguments, "description": inspect.getdoc(method.config) or ""}
    if method.kind is None:
        plain = parse_options(_Plain[method.config], module, default=_Plain[method.config](config=config), **settings)
        return Parsed(plain.config, DEFAULT_PLACEMENT, plain.options)
    kind = _WithNetworks[method.config]
    whole = parse_options(kind, module, default=kind(config=config, placement=placement), **settings)
    return Parsed(whole.config, whole.placement, whole.options)
