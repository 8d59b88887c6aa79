"""Writes the figures of runs as Markdown tables: `python -m benchmarks.gpu.tables gpu.json [later.json ...]`.

A part of a later file takes the place of the one of the same name before it, unless it was left out there.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.run import Result
from runtime.errors import UserError, run_main


def cell(value: object) -> str:
    """Return a value as a table shows it: four digits of a number."""
    if isinstance(value, bool) or not isinstance(value, float):
        text = "-".join(map(cell, value)) if isinstance(value, list) else str(value)
        return text.replace("|", "/").replace("\n", " ")
    size = abs(value)
    if value == 0 or 1e-3 <= size < 1e5:
        return f"{value:.4g}" if size < 1000 else f"{value:,.0f}"
    return f"{value:.1e}"


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table whose columns are all that occurs, in the order of their first row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(cell(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def part_table(part: Result | Mapping[str, Any]) -> str:
    """Return a part's heading, its rows, and what has become of it."""
    values = asdict(part) if isinstance(part, Result) else part
    lines = [f"\n### {values['name']}\n"]
    if values["rows"]:
        lines.append(rows_table(values["rows"]))
    ending = f"{values['status']} after {values['seconds']:g} s"
    lines.append(f"\n{ending}{': ' if values['reason'] else ''}{values['reason']}")
    return "\n".join(lines)


def document_tables(document: Mapping[str, Any]) -> str:
    """Return all parts of a file."""
    head = f"{document['device']}; {document['environment']}"
    return "\n".join([head, *(part_table(part) for part in document["parts"])])


def merge(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parts of several runs on one device as one run's, in the order of their first.

    Raises:
        UserError: they were measured on different devices.
    """
    devices = list(dict.fromkeys(document["device"] for document in documents))
    if len(devices) > 1:
        raise UserError(f"python -m benchmarks.gpu.tables: expected runs on one device, got {', '.join(devices)}")
    parts: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        for part in document["parts"]:
            if part["name"] not in parts or part["status"] != "skipped":
                parts[part["name"]] = part
    return {**documents[-1], "parts": list(parts.values())}


def read(path: str) -> Mapping[str, Any]:
    """Return a file's content.

    Raises:
        UserError: it is none of a run.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        document_tables(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}': expected a file of python -m benchmarks.gpu, got {error!s:.100}") from None
    return document


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of some files."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given:
        raise UserError("python -m benchmarks.gpu.tables FILE ...: expected a file, got none")
    print(document_tables(merge([read(path) for path in given])))


if __name__ == "__main__":
    run_main(main)
