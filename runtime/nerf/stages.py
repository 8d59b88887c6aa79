"""The stages of `runtime.nerf`: a field fitted to pictures."""

import hashlib
from typing import TYPE_CHECKING

import torch

from runtime.engines.bundle.installed import find_bundle, read_bundle_json
from runtime.errors import UserError
from runtime.field.captures.survey import look_from
from runtime.field.training_views import BUDGET, TrainingViews
from runtime.files import read_ordinary, replace_file
from runtime.loop.events import Note, Report
from runtime.loop.optimize import Stage
from runtime.memory import machine_memory
from runtime.nerf.hull import check_alpha
from runtime.nerf.judges.guess import photos_of
from runtime.nerf.judges.prior import load_prior
from runtime.nerf.judges.semantic import load_encoder
from runtime.nerf.scenes import Split

if TYPE_CHECKING:
    from runtime.engines.bundle import Bundle
    from runtime.loop.folder import RunFolder
    from runtime.nerf.config import Config


def build(
    config: "Config",
    bundle: None,
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stages of a configuration; see `runtime.command.method.Method.build`."""
    split = Split.of(config)
    for note in split.capture.notes:
        report(Note(note))
    views = TrainingViews.of(split.capture, split.train)
    height, width = views.cameras.sizes[0].tolist()
    report(Note(f"{len(views)} pictures of {width} x {height} to train on, {len(split.held_out)} held out"))
    asked = split.capture.cameras.sizes[split.train[0]].tolist()
    if [height, width] != asked:
        full = f"{asked[1]} x {asked[0]}"
        report(Note(f"read at {width} x {height} in place of {full}: pictures may take {BUDGET // 2**20} MiB in all"))
    if config.hull:
        check_alpha(views.has_alpha, "--hull")
    if run is not None:
        refuse_changes(config, views, run)
    if config.preset == "fast" and config.field != "dense":
        from runtime.nerf.hashed_stages import hashed_stages

        return hashed_stages(config, views)
    if config.preset == "fast":
        from runtime.nerf.grid_stages import grid_bytes, grid_stages

        taken = views.pixels.numel()
        report(Note(f"memory: {taken / 2**20:.0f} MiB of pictures, {grid_bytes(config) / 2**20:.0f} MiB of grid"))
        return grid_stages(config, views, report)
    from runtime.nerf.network_stages import network_stages

    return network_stages(config, views, report)


def refuse_changes(config: "Config", views: TrainingViews, run: "RunFolder") -> None:
    """Store what a new run reads, and refuse to resume one whose capture has changed since."""
    # Photos may be gigabytes: the run keeps their digest, where other methods keep copies.
    digests = {f"'{config.capture}': photos or cameras": ("capture.sha256", views.digest())}
    if config.prior is not None:
        networks = hashlib.sha256(read_bundle_json(find_bundle(config.prior))[0]).hexdigest()
        digests[f"--prior {config.prior}: its networks"] = ("prior.sha256", networks)
    for what, (name, digest) in digests.items():
        file = run.path / name
        if not file.exists():
            replace_file(file, digest + "\n")
        elif read_ordinary(file, 1000).decode("utf-8", "replace").strip() != digest:
            raise UserError(
                f"{what} have changed since the run in '{run.path}' began; put them back, or begin anew with --again"
            )


def validate(config: "Config", bundle: None) -> None:
    """Raise `UserError` where the capture cannot be read."""
    split = Split.of(config)
    if config.encoder is not None:
        load_encoder(config.encoder, config.device)
    if config.prior is not None:
        check_photos(load_prior(config), split)
    if config.hull:
        check_alpha(split.capture.has_alpha, "--hull")
    if len(split.train) < 2:
        raise UserError(
            f"'{config.capture}': expected at least two pictures to train on, got {len(split.train)}; one picture is "
            "what `python -m runtime.pixelnerf` is for"
        )
    check_memory(config)
    if not any(look_from(split.capture.cameras, view).share > 0 for view in split.train):
        # Before minutes are spent on a field that no ray meets, and that would have no surface.
        raise UserError(
            f"'{config.capture}': expected cameras that see the scene's box, got none whose rays meet it: axes may be "
            "flipped (--convention opencv), or the box is elsewhere (--centre, --half); `inspect` shows all cameras"
        )


def check_photos(bundle: "Bundle", split: Split) -> None:
    """Raise `UserError` where photos do not suit a prior that guesses; a diffusion model sees none."""
    from runtime.engines.bundle import PixelNeRFBundle

    if isinstance(bundle, PixelNeRFBundle):
        check_alpha(split.capture.has_alpha, "--prior")
        photos_of(TrainingViews.of(split.capture, split.train), bundle.manifest.side)


def check_memory(config: "Config") -> None:
    """Refuse a grid that the machine has no memory for: it would end the process without a word."""
    from runtime.nerf.grid_stages import grid_bytes

    memory = machine_memory()
    need = grid_bytes(config) if config.preset == "fast" and config.field == "dense" else 0
    if memory is not None and need > memory:
        raise UserError(
            f"--nodes {config.nodes}: such a grid takes {need / 2**30:.1f} GiB of memory, and this machine has "
            f"{memory / 2**30:.1f}; take fewer nodes, or leave out --view-dependent"
        )
