"""`python -m serving build`: a Triton model repository out of bundles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Interval

from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Build:
    """Write a Triton model repository: each network of some bundles, and each method that they serve.

    python -m serving build icons mnist --out repository
    """

    bundles: tyro.conf.Positional[tuple[str, ...]]
    """Names of installed bundles, or their folders."""
    out: Path
    """Folder of the repository: a new one, or one of ours, in which changed networks come beside the old versions."""
    jobs: Annotated[int, Interval(ge=1, le=64)] = 1
    """Jobs of a method side by side; each has a model of its own, which is a process of its own."""
    networks: Literal["process", "triton"] = "process"
    """What runs the networks of a job: process: its own process, to the bytes of the command; triton: the server, for
    all jobs together and batched, where last bits may differ."""


def run_build(options: Build) -> int:
    """Write the repository and check it; return the exit code."""
    from runtime.engines.bundle import Bundle
    from serving.methods import served_methods
    from serving.repository import build_repository, check_repository

    if not options.bundles:
        raise UserError("bundles: expected at least one, such as icons, got none")
    bundles = [Bundle.load(name) for name in options.bundles]
    written = build_repository(options.out, bundles, served_methods(), jobs=options.jobs, networks=options.networks)
    for model in written:
        print(f"{model.name}  {model.platform}  version {model.version}")
    wrong = check_repository(options.out)
    for line in wrong:
        print(f"error: {line}")
    print(f"wrote {len(written)} models to {options.out}; serve them with: python -m serving up {options.out}")
    return 1 if wrong else 0
