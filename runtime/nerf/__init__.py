"""Photos to 3D: a radiance field fitted to pictures with known cameras, as a mesh, a film and figures.

    python -m runtime.nerf capture/ --views 8
    python -m runtime.nerf inspect capture/
    python -m runtime.nerf render runs/capture --path spiral --depth --normals
    python -m runtime.nerf mesh runs/capture --out capture.obj
    python -m runtime.nerf capture/ --viewer        # a live page of the fit; `view runs/capture` shows a run

Thesis chapter 3 (DietNeRF; arXiv:2104.00677) and NeRF (arXiv:2003.08934). By default on a grid whose rays are marched
by compiled kernels: seconds on a CPU. It writes a GLB, an MP4, a JSON, and a run folder.
"""

import sys
from dataclasses import replace

from runtime.command.method import Method, later
from runtime.command.run import main_of
from runtime.nerf.config import Config, check, preset_config, stem

__all__ = ["METHOD", "Config", "main"]

METHOD: Method[Config] = Method(
    name="nerf",
    config=Config,
    build=later("runtime.nerf.stages", "build"),
    write=later("runtime.nerf.output", "write"),
    snapshot=later("runtime.nerf.output", "snapshot"),
    validate=later("runtime.nerf.stages", "validate"),
    suffixes=lambda config: (".glb", ".mp4", ".json"),
    stem=stem,
    default=lambda chosen: preset_config(chosen["preset"]),
    selectors=("preset",),
    check=check,
)
"""Photos to 3D, for `runtime.draw`."""

_fit = main_of(METHOD)

TOOLS = {
    "inspect": later("runtime.nerf.tools.inspect", "main"),
    "mesh": later("runtime.nerf.tools.mesh", "main"),
    "render": later("runtime.nerf.tools.render", "main"),
    "view": later("runtime.nerf.tools.viewer", "main"),
}
"""Further commands, by their first word: a capture of such a name is given as ./inspect."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, by default the process's, and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] in TOOLS:
        return TOOLS[words[0]](words[1:])
    if "--viewer" in words:
        from runtime.nerf.tools.viewer import watched

        # No option of the method: what is drawn, and so the request that a run is of, is the same without.
        watching = replace(METHOD, build=watched(METHOD.build))
        return main_of(watching)([word for word in words if word != "--viewer"])
    return _fit(words)
