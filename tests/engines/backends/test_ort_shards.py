"""A batch in parts, side by side: the numbers of a whole one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from runtime.engines.backends.ort import OrtEngine, _is_batched
from runtime.engines.spec import EngineSpec, TensorSpec
from tests.bundles import SPECS, make_denoiser
from tests.tolerance import ENGINE_FLOAT32


@pytest.fixture(scope="module")
def engines() -> dict[int, OrtEngine]:
    """Denoisers by shards, four threads each."""
    model = make_denoiser(0)
    return {shards: OrtEngine(SPECS["denoiser"], model, threads=4, shards=shards) for shards in (1, 2, 3, 9)}


def inputs(count: int) -> tuple[torch.Tensor, ...]:
    draws = torch.Generator().manual_seed(count)
    z, context = torch.randn(count, 4, 16, 16, generator=draws), torch.randn(count, 17, 384, generator=draws)
    return z, torch.randint(0, 1000, (count,), generator=draws), context


@pytest.mark.parametrize("shards", [2, 3, 9])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_batch_in_lanes_has_the_numbers_of_one(engines: dict[int, OrtEngine], shards: int, count: int) -> None:
    (whole,), (parts,) = engines[1](*inputs(count)), engines[shards](*inputs(count))
    torch.testing.assert_close(parts, whole, atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    (again,) = engines[shards](*inputs(count))
    assert torch.equal(again, parts)


def test_rows_do_not_depend_on_their_neighbours(engines: dict[int, OrtEngine]) -> None:
    z, t, context = inputs(2)
    (both,) = engines[2](z, t, context)
    for row in range(2):
        (alone,) = engines[2](z[row : row + 1], t[row : row + 1], context[row : row + 1])
        torch.testing.assert_close(alone[0], both[row], atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_bound_tensors_are_read_and_filled_in_parts(engines: dict[int, OrtEngine]) -> None:
    z, t, context = inputs(3)
    out = torch.empty(3, 4, 16, 16)
    run = engines[2].bind((z, t, context), (out,))
    run()
    torch.testing.assert_close(out, engines[1](z, t, context)[0], atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)
    z.mul_(0.5)
    run()
    torch.testing.assert_close(out, engines[1](z, t, context)[0], atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_lanes_may_be_called_from_several_threads(engines: dict[int, OrtEngine]) -> None:
    wanted = {count: engines[1](*inputs(count))[0] for count in (2, 3, 4)}
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            for count, got in zip(wanted, pool.map(lambda count: engines[2](*inputs(count))[0], wanted), strict=True):
                torch.testing.assert_close(got, wanted[count], atol=ENGINE_FLOAT32, rtol=ENGINE_FLOAT32)


def test_one_thread_has_one_lane() -> None:
    engine = OrtEngine(SPECS["denoiser"], make_denoiser(0), threads=1, shards=2)
    before = threading.active_count()
    engine(*inputs(4))
    assert engine._shards == 1
    assert threading.active_count() == before


def test_an_error_in_a_lane_comes_out() -> None:
    """A graph that looks rows up in a table of three: a row number beyond it fails, in whichever lane it is."""
    table = numpy_helper.from_array(np.arange(3, dtype=np.float32), "table")
    node = helper.make_node("Gather", ["table", "row"], ["y"])
    infos = [
        helper.make_tensor_value_info(n, k, ["B"]) for n, k in (("row", TensorProto.INT64), ("y", TensorProto.FLOAT))
    ]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    row, y = TensorSpec("row", ("B",), "int64"), TensorSpec("y", ("B",), "float32")
    engine = OrtEngine(
        EngineSpec("look", (row,), (y,), {"B": (1, 2, 8)}), model.SerializeToString(), threads=2, shards=2
    )
    assert engine(torch.tensor([2, 0]))[0].tolist() == [2.0, 0.0]
    for bad in ([0, 7], [7, 0]):
        with pytest.raises(Exception, match=r"out of data bounds|indices"):
            engine(torch.tensor(bad))
    assert engine(torch.tensor([1, 2]))[0].tolist() == [1.0, 2.0]


def test_only_a_batch_that_every_tensor_has_is_cut() -> None:
    assert _is_batched(SPECS["denoiser"])
    spec = SPECS["latent_encoder"]
    fixed = EngineSpec("x", (*spec.inputs, TensorSpec("scale", (1,), "float32")), spec.outputs, spec.ranges)
    assert not _is_batched(fixed)
    scalar = EngineSpec("x", (TensorSpec("x", (), "float32"),), (TensorSpec("y", (), "float32"),))
    assert not _is_batched(scalar)
    static = EngineSpec("x", (TensorSpec("x", (2,), "float32"),), (TensorSpec("y", (2,), "float32"),))
    assert not _is_batched(static)
