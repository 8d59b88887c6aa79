"""Every kernel has a twin, says so, takes few arguments, and is written one assignment a line."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

from runtime.vector.raster import cuda, kernels

TOOLS = {"arrays", "limits"}
"""Modules of tools: arrays and limits. They have no stage of a picture, and so no twins."""

STAGES = sorted({module.name for module in pkgutil.iter_modules(kernels.__path__)} - TOOLS)
DECORATORS = {"entry", "inner", "inlined", "summing", "_kernel"}
ON_A_CARD = ("pixels", "launch")
"""Modules of `cuda` with kernels; their twins are the kernels on the CPU (`test_cuda.py`)."""


def functions(module: str, folder: str | None = None) -> list[ast.FunctionDef]:
    """All compiled functions of a module."""
    source = Path(folder or kernels.__path__[0], f"{module}.py").read_text()
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return [node for node in nodes if {ast.unparse(decorator) for decorator in node.decorator_list} & DECORATORS]


@pytest.mark.parametrize("module", STAGES)
def test_every_kernel_has_a_twin_of_its_name(module: str) -> None:
    twins = importlib.import_module(f"runtime.vector.raster.reference.{module}")
    tests = Path(__file__).with_name(f"test_{module}.py").read_text()
    for node in functions(module):
        if node.name.startswith("_"):
            continue
        twin = getattr(twins, node.name, None)
        assert callable(twin), f"{module}.{node.name}: no twin"
        assert twin.__module__ == twins.__name__
        docstring = ast.get_docstring(node) or ""
        assert f"Twin: `reference.{module}.{node.name}`" in docstring, f"{module}.{node.name}: names no twin"
        assert node.name in tests, f"{module}.{node.name}: no test of its stage"


@pytest.mark.parametrize("module", [*STAGES, "arrays"])
def test_at_most_eight_arguments_and_one_assignment_a_line(module: str) -> None:
    check_functions(module, functions(module))


@pytest.mark.parametrize("module", ON_A_CARD)
def test_so_have_kernels_on_a_card(module: str) -> None:
    on_a_card = functions(module, cuda.__path__[0])
    assert len(on_a_card) > 4
    check_functions(module, on_a_card)


def check_functions(module: str, nodes: list[ast.FunctionDef]) -> None:
    for node in nodes:
        assert len(node.args.args) <= 8, f"{module}.{node.name}"
        for statement in ast.walk(node):
            if isinstance(statement, ast.Assign):
                pairs = isinstance(statement.targets[0], ast.Tuple) and isinstance(statement.value, ast.Tuple)
                assert not pairs, f"{module}.{node.name}: {ast.unparse(statement)}"
                assert len(statement.targets) == 1, f"{module}.{node.name}: {ast.unparse(statement)}"
