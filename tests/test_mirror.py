"""Each module has a test file of its name, or a line here that says where it is tested."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

ELSEWHERE = {
    "runtime/__init__.py": "test_architecture.py",
    "runtime/lmconv/functions.py": "lmconv/test_lmconv.py",
    "runtime/vector/trace/flat/areas.py": "vector/trace/flat/test_drawing.py",
    "runtime/vector/trace/flat/centrelines.py": "vector/trace/flat/test_drawing.py",
    "runtime/vector/trace/flat/edges.py": "vector/trace/flat/test_drawing.py",
    "runtime/vector/trace/flat/kernels/fitting.py": "vector/trace/flat/test_curves.py",
    "runtime/vector/trace/flat/kernels/mixtures.py": "vector/trace/flat/test_colours.py",
    "runtime/vector/trace/flat/kernels/moving.py": "vector/trace/test_threshold_dynamics.py",
    "runtime/vector/trace/flat/segments.py": "vector/trace/flat/test_joints.py",
    "runtime/vector/trace/flat/kernels/owners.py": "vector/trace/flat/test_drawing.py",
    "runtime/vector/trace/flat/shapes.py": "vector/trace/flat/test_drawing.py",
    "runtime/vector/trace/flat/stacking.py": "vector/trace/flat/test_drawing.py",
    "runtime/vector/svg/__init__.py": "vector/svg/test_read.py",
    "runtime/vectorize/function.py": "vectorize/test_vectorize.py",
    "runtime/files.py": "loop/test_folder.py",
    "runtime/command/outputs.py": "vectorfusion/test_input.py",
    "runtime/command/parse.py": "command/test_method.py",
    "runtime/command/placement.py": "vectorfusion/test_placement.py",
    "runtime/command/seeds.py": "serving/test_main.py",
    "runtime/command/run.py": "command/test_method.py",
    "runtime/engines/backends/base.py": "engines/backends/test_table.py",
    "runtime/engines/backends/editions.py": "engines/backends/test_trt.py",
    "runtime/engines/backends/graphs.py": "engines/backends/test_choice.py",
    "runtime/engines/backends/streams.py": "engines/backends/test_gpu.py",
    "runtime/engines/backends/trt_driver.py": "engines/backends/test_trt.py",
    "runtime/engines/bundle/": "engines/bundle/test_folder.py",
    "runtime/ddpm/": "ddpm/test_ddpm.py",
    "runtime/engines/hardware.py": "engines/backends/test_results.py",
    "runtime/engines/precision.py": "export/graph/test_precision.py",
    "runtime/engines/protocols.py": "engines/test_roles.py",
    "runtime/engines/tokens.py": "engines/test_roles.py",
    "runtime/engines/twins/fused/": "engines/twins/test_fused.py",
    "runtime/engines/twins/": "engines/twins/test_families.py",
    "runtime/engines/verified_files.py": "engines/bundle/test_folder.py",
    "runtime/field/cuda/": "field/test_cuda.py",
    "runtime/field/kernels/differentiate.py": "field/test_march.py",
    "runtime/field/kernels/hashing.py": "field/fields/test_hashed.py",
    "runtime/field/kernels/march.py": "field/test_march.py",
    "runtime/field/kernels/nodes.py": "field/fields/test_grid.py",
    "runtime/field/kernels/pictures.py": "field/test_volume.py",
    "runtime/field/kernels/scatter.py": "field/test_march.py",
    "runtime/field/kernels/samples.py": "field/fields/test_hashed.py",
    "runtime/field/reference/grid.py": "field/test_march.py",
    "runtime/field/reference/hashing.py": "field/fields/test_hashed.py",
    "runtime/kernels/card.py": "field/test_cuda.py",
    "runtime/clipdraw/": "clipdraw/test_clipdraw.py",
    "runtime/lift/": "lift/test_lift.py",
    "runtime/dreamfusion/": "dreamfusion/test_dreamfusion.py",
    "runtime/dreamfields/": "dreamfields/test_dreamfields.py",
    "runtime/lmconv/": "lmconv/test_lmconv.py",
    "runtime/arrays.py": "test_fuzz.py",
    "runtime/field/captures/formats/": "field/captures/formats/test_formats.py",
    "runtime/field/captures/read.py": "field/captures/test_capture.py",
    "runtime/field/captures/views.py": "field/captures/test_capture.py",
    "runtime/field/captures/write.py": "field/captures/test_capture.py",
    "runtime/loop/events.py": "loop/test_progress.py",
    "runtime/loop/plot.py": "loop/test_optimize.py",
    "runtime/loop/scene.py": "loop/test_optimize.py",
    "runtime/nerf/": "nerf/test_nerf.py",
    "runtime/nerf/judges/": "nerf/judges/test_prior.py",
    "runtime/nerf/judges/semantic.py": "nerf/test_nerf.py",
    "runtime/nerf/tools/": "nerf/test_nerf.py",
    "runtime/nerf/tools/inspect.py": "nerf/test_inspect.py",
    "runtime/nerf/tools/viewer.py": "nerf/test_viewer.py",
    "runtime/pixels/neighbours.py": "pixels/test_walks.py",
    "runtime/pixels/order_names.py": "lmconv/test_lmconv.py",
    "runtime/pixels/regions.py": "pixels/test_orders.py",
    "runtime/pixels/sheets.py": "lmconv/test_lmconv.py",
    "runtime/pixels/walk.py": "pixels/test_walks.py",
    "runtime/vector/raster/cuda/": "vector/raster/test_cuda.py",
    "runtime/vector/raster/__init__.py": "vector/raster/test_rasterize.py",
    "runtime/vector/raster/kernels/arrays.py": "vector/raster/test_forward.py",
    "runtime/vector/svg/geometry/contours.py": "vector/svg/geometry/test_clips.py",
    "runtime/vector/svg/context.py": "vector/svg/test_read.py",
    "runtime/vector/svg/effects/apply.py": "vector/svg/effects/test_masks.py",
    "runtime/vector/svg/effects/recolouring.py": "vector/svg/effects/test_filters.py",
    "runtime/vector/svg/css.py": "vector/svg/test_style.py",
    "runtime/vector/svg/gradients.py": "vector/svg/test_style.py",
    "runtime/vector/svg/values.py": "vector/svg/test_style.py",
    "runtime/vector/trace/": "vector/trace/test_live.py",
    "runtime/vectorfusion/config.py": "vectorfusion/test_input.py",
    "runtime/vectorfusion/": "vectorfusion/test_vectorfusion.py",
    "runtime/vectorize/": "vectorize/test_vectorize.py",
    "export/dual_encoder.py": "export/objects/test_objects.py",
    "train/clip/": "train/clip/test_dual.py",
    "train/further/": "train/further/test_further.py",
    "train/latent_diffusion/": "export/icons/test_icons.py",
    "train/ddpm/": "train/ddpm/test_training.py",
    "train/ddpm/names.py": "train/ddpm/test_network.py",
    "train/lmconv/__main__.py": "train/lmconv/test_training.py",
    "train/lmconv/evaluate.py": "train/lmconv/test_training.py",
    "train/lmconv/grouped.py": "train/lmconv/test_layer.py",
    "train/lmconv/pointwise.py": "train/lmconv/test_network.py",
    "train/lmconv/runs.py": "train/lmconv/test_training.py",
    "train/runs.py": "train/lmconv/test_training.py",
    "runtime/pixelnerf/": "pixelnerf/test_pixelnerf.py",
    "runtime/pixelnerf/config.py": "pixelnerf/test_pixelnerf.py",
    "train/pixelnerf/__main__.py": "train/pixelnerf/test_training.py",
    "train/pixelnerf/loss.py": "train/pixelnerf/test_training.py",
    "train/pixelnerf/resnet.py": "train/pixelnerf/test_network.py",
    "train/pixelnerf/runs.py": "train/pixelnerf/test_training.py",
    "export/clip/": "export/clip/test_clip.py",
    "export/commands/build.py": "export/test_plans.py",
    "export/commands/clip.py": "export/clip/test_clip.py",
    "export/commands/ddpm.py": "export/ddpm/test_source.py",
    "export/pixelnerf/": "export/pixelnerf/test_pixelnerf.py",
    "export/commands/pixelnerf.py": "export/pixelnerf/test_pixelnerf.py",
    "export/commands/lmconv.py": "lmconv/test_lmconv.py",
    "export/commands/timm.py": "export/clip/test_clip.py",
    "export/commands/verify.py": "export/verify/test_bundle.py",
    "export/commands/": "export/test_main.py",
    "export/ddpm/": "export/ddpm/test_source.py",
    "export/graph/prune.py": "export/vjp/test_files.py",
    "export/icons/": "export/icons/test_icons.py",
    "export/lmconv/": "lmconv/test_lmconv.py",
    "export/network.py": "export/write/test_bundle.py",
    "export/pretrained/": "export/sd/test_networks.py",
    "export/samples.py": "export/icons/test_icons.py",
    "export/sd/": "export/sd/test_networks.py",
    "export/verify/": "export/verify/test_bundle.py",
    "serving/commands/": "serving/test_main.py",
    "serving/gateway/": "serving/gateway/test_app.py",
    "serving/bundles.py": "serving/gateway/test_app.py",
    "serving/client.py": "serving/test_main.py",
    "serving/models/model.py": "serving/triton/test_hosted.py",
    "serving/models/onnx_backend.py": "serving/triton/test_server.py",
    "serving/triton/": "serving/triton/test_server.py",
    "serving/lanes.py": "serving/test_pool.py",
    "serving/worker.py": "serving/test_pool.py",
    "export/vjp/": "export/vjp/test_files.py",
    "export/write/": "export/sd/test_bundle.py",
}
"""What tests a module without a file of its own, below `tests/`; a folder stands for what is in it and has no line."""

COPIED = ("serving/models/onnx_backend.py",)
"""Files that another program runs from a copy, which no import leads to."""

BESIDE = ("runtime/vector/raster/kernels", "runtime/vector/raster/reference")
"""Folders whose modules are tested in pairs, a folder up: a kernel and its readable twin of the same name."""


def modules() -> dict[str, str]:
    """Return the test file, below `tests/`, that each module should have; by the module's path.

    A package stands for its `__init__`. Files without a function or class of their own are left out.
    """
    expected = {}
    for package in ("runtime", "train", "export", "serving"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name, below = path.relative_to(ROOT).as_posix(), path.relative_to(ROOT / package)
            folder = below.parent.parent if name.rpartition("/")[0] in BESIDE else below.parent
            stem = {"__init__": below.parent.name or package, "__main__": "main"}.get(below.stem, below.stem)
            if not is_bare(path):
                top = Path() if package == "runtime" else Path(package)
                expected[name] = (top / folder / f"test_{stem}.py").as_posix()
    return expected


def is_bare(path: Path) -> bool:
    """Return whether a file has no function and no class."""
    lines = path.read_text("utf-8").splitlines()
    return not any(line.lstrip().startswith(("def ", "class ", "async def ")) for line in lines)


def file_that_tests(name: str, expected: str) -> str | None:
    """Return the file that tests a module, or None."""
    if (TESTS / expected).is_file():
        return expected
    return ELSEWHERE.get(name, ELSEWHERE.get(f"{name.rpartition('/')[0]}/"))


def test_each_module_has_its_tests() -> None:
    expected = modules()
    assert len(expected) > 100
    assert {name: file for name, file in expected.items() if file_that_tests(name, file) is None} == {}


def test_the_table_is_true() -> None:
    names = modules().keys() | {f"{name.rpartition('/')[0]}/" for name in modules()}
    assert sorted(ELSEWHERE.keys() - names) == []
    assert sorted({file for file in ELSEWHERE.values() if not (TESTS / file).is_file()}) == []


@cache
def named_modules(path: Path) -> frozenset[str]:
    """Return the dotted names that a file imports or has as a text, as `later` and `python -m` need them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return frozenset(names)


@cache
def sources() -> dict[str, Path]:
    """Return the files of modules, of the product and of tests, by their dotted name."""
    files = [path for top in ("runtime", "train", "export", "serving", "tests") for path in (ROOT / top).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", "."): path for path in files}


@cache
def reached(test: Path) -> set[str]:
    """Return the modules that a test file leads to by what it names, and its conftest.py, and what these name."""
    files = sources()
    seen: set[str] = set()
    # That of all tests would lead everywhere.
    waiting = [test, *(folder / "conftest.py" for folder in test.parents if folder != TESTS)]
    while waiting:
        path = waiting.pop()
        for module in leads_to(named_modules(path), files) if path.is_file() else ():
            if module not in seen:
                seen.add(module)
                waiting.append(files[module])
    return seen


def leads_to(names: frozenset[str], files: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that names stand for; a package is run when something in it is imported."""
    for name in names:
        for module in (name, f"{name}.__init__", f"{name}.__main__", f"{name.rpartition('.')[0]}.__init__"):
            if module in files:
                yield module


def test_each_module_is_within_reach_of_its_tests() -> None:
    far = {}
    for name, expected in modules().items():
        test = file_that_tests(name, expected)
        module = name.removesuffix(".py").replace("/", ".")
        if test is not None and name not in COPIED and module not in reached(TESTS / test):
            far[name] = test
    assert far == {}
