"""The front door: what `import runtime` offers, and when it is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

import runtime

ROOT = Path(__file__).parent.parent


def test_every_name_is_offered_and_there() -> None:
    assert set(runtime.__all__) <= set(dir(runtime))
    for name in set(runtime.__all__) - {"__version__"}:
        assert callable(getattr(runtime, name)), name
    with pytest.raises(AttributeError, match="module 'runtime' has no attribute 'magic'"):
        _ = runtime.magic


@pytest.mark.parametrize("first", ["import runtime.vectorize", "import runtime", "import runtime.lmconv.functions"])
def test_vectorize_is_a_function_and_a_package_in_any_order(first: str) -> None:
    names = "from runtime import vectorize; from runtime.vectorize import METHOD"
    code = f"{first}; {names}; print(callable(vectorize), METHOD.name)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout == "True vectorize\n"


def test_listing_the_names_loads_nothing_heavy() -> None:
    code = "import sys, runtime; dir(runtime); runtime.UserError; runtime.draw; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout == "False\n"
