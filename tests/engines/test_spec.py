import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.dtypes import DTYPES
from runtime.engines.spec import FORMAT, EngineSpec, FileSpec, TensorSpec, format_tensor
from runtime.errors import UserError

SPEC = EngineSpec(
    "unet",
    (TensorSpec("z", ("B", 4, 16, 16), "float16"), TensorSpec("t", ("B",), "int64")),
    (TensorSpec("eps", ("B", 4, 16, 16), "float16"),),
    {"B": (1, 2, 8)},
    {"model.onnx": FileSpec(3, "0" * 64)},
)

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,20}", fullmatch=True)
shapes = st.lists(st.integers(1, 1000) | st.sampled_from("BNHW"), max_size=4).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> EngineSpec:
    def tensors(shape: st.SearchStrategy) -> tuple[TensorSpec, ...]:
        unique = draw(st.lists(names, min_size=1, max_size=3, unique=True))
        return tuple(TensorSpec(name, draw(shape), draw(st.sampled_from([*DTYPES]))) for name in unique)

    inputs = tensors(shapes)
    free = sorted({size for tensor in inputs for size in tensor.shape if isinstance(size, str)})
    ranges = {name: tuple(sorted(draw(st.tuples(*[st.integers(1, 99)] * 3)))) for name in free}
    files = draw(st.dictionaries(st.sampled_from(["model.onnx", "plans/a.plan"]), st.just(FileSpec(7, "ab" * 32))))
    return EngineSpec(draw(names), inputs, tensors(shapes), ranges, files)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the checks of types draw from it
@given(specs())
def test_a_spec_survives_the_file(spec: EngineSpec) -> None:
    assert EngineSpec.from_json(spec.to_json().encode(), "spec.json") == spec


def test_tensors_are_written_as_messages_write_them() -> None:
    assert str(SPEC.inputs[0]) == "(B, 4, 16, 16) float16"
    assert format_tensor((3,), "int64") == "(3,) int64"
    assert format_tensor((), "bool") == "() bool"


def test_binding_settles_free_dimensions_once() -> None:
    sizes: dict[str, int] = {}
    square = TensorSpec("x", ("N", "N"), "float32")
    assert not square.bind((2, 3), "float32", sizes)
    assert sizes == {}
    assert square.bind((3, 3), "float32", sizes)
    assert sizes == {"N": 3}
    assert square.bound(sizes) == (3, 3)
    assert not square.bind((2, 2), "float32", sizes)
    assert not square.bind((3, 3), "float16", sizes)
    assert not square.bind((3,), "float32", sizes)


def edited(**changes: Any) -> bytes:
    document = json.loads(SPEC.to_json())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for key in parents:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": FORMAT + 1}, f"from a newer version: expected format {FORMAT}, got {FORMAT + 1}; "),
        ({"format": "1"}, "field 'format': expected 1, got '1'"),
        ({"format": True}, "field 'format': expected 1, got True"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"name": "../x"}, "expected a name of letters"),
        ({"inputs": []}, "expected 1 to 1000 tensors, got 0"),
        ({"inputs__0__dtype": "float8"}, r"inputs\[0\]: field 'dtype': expected one of float32, .*, got 'float8'"),
        ({"inputs__0__shape": ["B", 0, 1, 1]}, "expected sizes of at least 1 or names, got 0"),
        ({"inputs__0__shape": ["B", 2**31]}, "expected sizes of at least 1 or names, got 2147483648"),
        ({"inputs__0__shape": ["B", 1.5]}, "expected sizes of at least 1 or names, got 1.5"),
        ({"inputs__0__shape": [1] * 9}, "expected at most 8 dimensions, got 9"),
        ({"inputs__0__name": "t"}, "expected distinct names, got t, t"),
        ({"ranges": {}}, r"expected the inputs' free dimensions \['B'\], got \[\]"),
        ({"ranges__B": [2, 1, 8]}, r"expected \[least, typical, greatest\]"),
        ({"ranges__B": [0, 1, 8]}, r"expected \[least, typical, greatest\]"),
        ({"ranges__B": [1, 2]}, r"expected \[least, typical, greatest\]"),
        ({"files": {"../model.onnx": {"size": 1, "sha256": "0" * 64}}}, "no file name inside a bundle"),
        ({"files": {"m": {"size": -1, "sha256": "0" * 64}}}, "field 'size': expected 0 to"),
        ({"files": {"m": {"size": 2**60, "sha256": "0" * 64}}}, "field 'size': expected 0 to"),
        ({"files": {"m": {"size": 1, "sha256": "0" * 63}}}, "expected 64 hexadecimal digits"),
        ({"files": {"m": {"size": 1}}}, "the field 'sha256' is missing"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        EngineSpec.from_json(edited(**changes), "unet/spec.json")
    assert str(error.value).startswith("unet/spec.json")


@pytest.mark.parametrize("field", ["name", "inputs", "outputs", "ranges", "files", "format"])
def test_a_missing_field_is_named(field: str) -> None:
    document = json.loads(SPEC.to_json())
    del document[field]
    with pytest.raises(UserError, match=f"'{field}'"):
        EngineSpec.from_json(json.dumps(document).encode(), "spec.json")
