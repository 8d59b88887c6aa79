"""How the threads of PyTorch, ONNX Runtime and the rasterizer get along on the same cores."""

import os
import sys

SPINS = "10000"
"""How often an idle thread of GNU OpenMP looks for work before it sleeps: some hundred microseconds."""


def limit_spinning() -> bool:
    """Let PyTorch's idle threads sleep soon, so that other threads have their cores; call it before PyTorch is loaded.

    GNU OpenMP, with which PyTorch comes, looks 300,000 times: for milliseconds after each operator a core is busy with
    waiting, while the rasterizer and ONNX Runtime want it. A step of text to SVG took 41 ms so on two cores, and 33 ms
    with 10,000 looks. Results do not depend on it. What the environment already says stays.

    Returns:
        Whether it comes in time: False where PyTorch is loaded already.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    return "torch" not in sys.modules
