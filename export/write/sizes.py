"""The sizes of a bundle's files, for people."""

from pathlib import Path

from runtime.errors import printable


def bundle_sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file of a bundle, by relative path."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def format_sizes(folder: Path) -> str:
    """Return the bytes of a bundle's files and their sum as a Markdown table."""
    sizes = bundle_sizes(folder)
    # Names of files that came with a bundle from elsewhere.
    rows = [f"| {printable(name)} | {size:,} |" for name, size in sizes.items()]
    lines = ["| file | bytes |", "|---|---|", *rows]
    total = sum(sizes.values())
    return "\n".join([*lines, f"| all | {total:,} ({total / 2**20:.2f} MiB) |"])
