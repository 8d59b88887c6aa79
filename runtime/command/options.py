"""A command line from a dataclass: tyro, with the program's name as typed and a help that wraps cleanly."""

import ast
import contextlib
import dataclasses
import inspect
import re
import shutil
import sys
import textwrap
import typing
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar

import tyro

from runtime.command.program import program_name
from runtime.command.ranges import check_ranges, describe_range

OptionsT = TypeVar("OptionsT")


def parse_options(
    kind: type[OptionsT],
    module: str,
    *,
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    **settings: Any,
) -> OptionsT:
    """Return the options that a command line says; the process ends with code 2 on one that says none.

    Args:
        kind: dataclass of the options, or a union of subcommands; a docstring below each field is its help.
        module: what runs, such as "train.lmconv"; its name in messages is `program_name(module)`.
        description: what the help begins with; by default the docstring of the dataclass.
        arguments: words of the command line; by default this process's.
        settings: of `tyro.cli`, such as `default`.

    Raises:
        UserError: a number is out of the range of its annotation.
    """
    for part in dataclasses_in(kind):
        describe_fields(part)
    # As it was typed: under `tgm train lmconv` the help must not speak of `python -m train.lmconv`.
    program = program_name(module)
    if description is not None:
        description = description.replace(f"python -m {module} ", f"{program} ")
    # tyro prints and exits in one call, so what it prints can be caught nowhere else.
    with contextlib.redirect_stdout(WrappedOutput()):  # pyright: ignore
        options = tyro.cli(kind, prog=program, description=description, args=arguments, **settings)
    check_ranges(options)
    return options


def dataclasses_in(kind: Any) -> Iterator[type]:
    """Yield the dataclasses that an annotation consists of, and those of their fields."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield kind
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            yield from dataclasses_in(hints[field.name])
        return
    origin = typing.get_origin(kind)
    for part in ([origin] if dataclasses.is_dataclass(origin) else []) + list(typing.get_args(kind)):
        yield from dataclasses_in(part)


def describe_fields(kind: type) -> None:
    """Make each field's docstring, and the range of its annotation, its help, as one paragraph.

    tyro reads these docstrings itself, but keeps a break before each of their lines that is indented, which is every
    line but the first, so that a narrow terminal shows long and short lines in turns.
    """
    docs = {name: text for base in reversed(kind.__mro__) for name, text in _field_docstrings(base).items()}
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if field.name in docs and "help" not in field.metadata:
            bounds = describe_range(hints[field.name])
            text = f"{docs[field.name]} Range: {bounds}." if bounds else docs[field.name]
            field.metadata = MappingProxyType({**field.metadata, "help": text})


def _field_docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields that a class itself declares."""
    if not dataclasses.is_dataclass(kind):
        return {}
    # Python drops docstrings of fields when it compiles a class: only the source has them.
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, below in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            docs[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return docs


class WrappedOutput:
    """Stdout that breaks a line at words where it is longer than the terminal is wide: tyro breaks boxes only."""

    def __init__(self) -> None:
        """Write to what is stdout now."""
        self.stream = sys.stdout

    def write(self, text: str) -> int:
        """Write a text, its long lines broken and several empty lines reduced to one."""
        # At each write, because a terminal may be resized while a help text scrolls by.
        width = shutil.get_terminal_size().columns
        text = re.sub(r"\n{3,}", "\n\n", text)
        return self.stream.write("\n".join(_wrapped(line, width) for line in text.split("\n")))

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream has: whether it is a terminal decides on colours."""
        return getattr(self.stream, name)


def _wrapped(line: str, width: int) -> str:
    """Return a line of at most `width` columns; the boxes' and coloured lines, which tyro has broken, stay."""
    if len(line) <= width or "\033" in line or line[:1] in "╭│╰":
        return line
    indent = line[: len(line) - len(line.lstrip())]
    if not indent:
        return textwrap.fill(line, width, break_on_hyphens=False)
    # What is indented is to be typed: its parts are one command in a shell, too.
    parts = textwrap.wrap(line.strip(), width - 2 * len(indent) - 2, break_on_hyphens=False)
    return indent + f" \\\n{indent * 2}".join(parts)
