"""`python -m export build`: TensorRT plans of a bundle's networks, ahead of time."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Build:
    """Build TensorRT plans of every network of a bundle; what is there and matches is kept."""

    bundle: Annotated[str, tyro.conf.Positional]
    """Name of an installed bundle, or its folder."""
    target: str = ""
    """Compute capabilities, such as sm80,sm86,sm89,sm120; by default that of this machine's GPU."""
    precision: Literal["model", "tf32", "fp16", "bf16"] = "model"
    """model: as exported, without TF32; tf32: with it; fp16, bf16: products cast, while normalizations, softmax,
    latent encoders and gradients stay in float32."""
    roles: str = ""
    """Networks to build, such as denoiser,text_encoder; by default all."""


def run_build(options: Build) -> int:
    """Build the plans and print a line for each."""
    from export.pretrained.packages import require

    require("onnx")
    from export.plans import build_plans, check_targets, select_graphs
    from runtime.engines.backends.editions import installed_editions, require_edition
    from runtime.engines.bundle import Bundle
    from runtime.engines.precision import Compute
    from runtime.loop.progress import ProgressBar

    if not installed_editions():
        require_edition("tensorrt_rtx")  # fails before a large bundle is read
    targets = check_targets(options.target or _own_target())
    bundle = Bundle.load(options.bundle)
    graphs = select_graphs(bundle, [role.strip() for role in options.roles.split(",") if role.strip()])
    with ProgressBar() as bar:
        built = build_plans(graphs, targets, Compute(options.precision), lambda line: print(line, flush=True), bar.show)
    size = sum(path.stat().st_size for _, path in built)
    print(f"{len(built)} plans of bundle {bundle.name}, {size / 2**20:.1f} MiB")
    return 0


def _own_target() -> str:
    """Return the compute capability of this machine's GPU."""
    from runtime.engines.backends.editions import capability_of

    try:
        return capability_of()
    except UserError:
        raise UserError(
            "--target: PyTorch sees no NVIDIA GPU here, so name compute capabilities to build for, such as "
            "sm80 (A100), sm86 (RTX 30), sm89 (RTX 40), sm120 (RTX 50), separated by commas"
        ) from None
