"""The parts of the run in the order of their value, what each needs, and how to fetch what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something to measure in a process of its own."""

    name: str
    """What the command line and the tables call it."""
    module: str
    """Module below `benchmarks.gpu.cases` whose `measure(setting, case)` yields rows."""
    seconds: float
    """Limit, seconds: two to three times what an H200 took."""
    case: str = ""
    """What of the module is measured."""
    needs: tuple[str, ...] = ()
    """Modules without which it is left out."""
    timed: bool = True
    """Whether it measures times, so that nothing may run beside it."""


FRAME = ("tyro", "annotated_types")
"""What configurations of methods need."""

PARTS = (
    Part(name="machine", module="machine", seconds=20),
    Part(name="profile", module="profile", seconds=40, needs=("diffusers",)),
    Part(name="tests", module="marked", seconds=120, timed=False, needs=("pytest", "jaxtyping", "beartype", *FRAME)),
    Part(name="correctness", module="correctness", seconds=100, timed=False),
    Part(name="svg", module="svg", seconds=60, needs=("diffusers", *FRAME)),
    Part(name="rasterizer", module="rasterizer", seconds=60, needs=("numba",)),
    Part(name="fields", module="views", case="fields", seconds=20),
    Part(name="pixelnerf", module="views", case="pixelnerf", seconds=20),
    Part(name="ddpm", module="pixels", case="ddpm", seconds=30),
    Part(name="dreamfusion", module="dreamfusion", seconds=40, needs=("diffusers", *FRAME)),
    Part(name="dreamfields", module="dreamfields", seconds=60, needs=FRAME),
    Part(name="sd15", module="denoisers", case="sd15", seconds=50, needs=("diffusers",)),
    Part(name="clip", module="denoisers", case="clip", seconds=40),
    Part(name="lmconv", module="pixels", case="lmconv", seconds=50),
    Part(name="encoder", module="encoder", seconds=60),
    Part(name="sdxl", module="denoisers", case="sdxl", seconds=60, needs=("diffusers",)),
    Part(name="sd21", module="denoisers", case="sd21-base", seconds=40, needs=("diffusers",)),
    Part(name="engines", module="engines", seconds=40, needs=("onnxruntime",)),
    Part(
        name="backends",
        module="backends",
        seconds=240,
        needs=("diffusers", "onnx", "onnxscript", "onnxruntime", "tokenizers", "numba", *FRAME),
    ),
    Part(name="compiled", module="compiled", seconds=150, needs=("diffusers",)),
)

WHEELS = {
    "annotated_types": ("annotated-types",),
    "beartype": ("beartype",),
    "diffusers": ("diffusers", "importlib-metadata", "lazy-importer"),
    "filelock": ("filelock",),
    "jaxtyping": ("jaxtyping", "wadler-lindig"),
    "numba": ("numba", "llvmlite"),
    "onnx": ("onnx", "ml-dtypes", "protobuf"),
    "onnxruntime": ("onnxruntime-gpu", "flatbuffers"),
    "onnxscript": ("onnxscript", "onnx-ir"),
    "pytest": ("pytest", "pluggy", "iniconfig"),
    "safetensors": ("safetensors",),
    "tokenizers": ("tokenizers",),
    "tyro": ("tyro", "docstring-parser", "typeguard"),
}
"""For each module that a part or the tree needs the packages that bring it."""


def missing(modules: Sequence[str]) -> list[str]:
    """Return those of some modules that are not installed."""
    return [name for name in modules if find_spec(name) is None]


def advice(absent: Sequence[str], version: str) -> str:
    """Return what to run where there is a network, to carry packages to a machine without one.

    Args:
        absent: modules, keys of `WHEELS`.
        version: Python's on the machine that they are for, such as 3.12.
    """
    if not absent:
        return "nothing is missing"
    packages = [package for name in absent for package in WHEELS[name]]
    platforms = " ".join(f"--platform manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_17", "2014"))
    return (
        f"missing: {', '.join(absent)}\n"
        f"fetch:   python3 -m pip download --no-deps --only-binary=:all: --python-version {version} "
        f"--implementation cp {platforms} -d .whl {' '.join(packages)}\n"
        "install: python3 -m pip install --no-index --no-deps --target /tmp/site .whl/*.whl && "
        "export PYTHONPATH=/tmp/site"
    )
