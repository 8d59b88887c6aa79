import json
import sys
import threading
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from runtime.engines.backends import editions
from runtime.engines.backends.trt import TrtEngine
from runtime.engines.spec import EngineSpec, TensorSpec
from runtime.errors import UserError
from tests.engines import fake_tensorrt as fake

SPEC = EngineSpec(
    "sum",
    (TensorSpec("x", ("B", 64), "float32"), TensorSpec("n", ("B", 64), "int64")),
    (TensorSpec("y", ("B", 64), "float32"), TensorSpec("m", ("B", 64), "int64")),
    {"B": (1, 2, 8)},
)
TENSORS = [
    {"name": "x", "shape": [-1, 64], "type": "FLOAT", "input": True},
    {"name": "n", "shape": [-1, 64], "type": "INT64", "input": True},
    {"name": "y", "shape": [-1, 64], "type": "FLOAT", "input": False, "factor": 1},
    {"name": "m", "shape": [-1, 64], "type": "INT64", "input": False, "factor": 2},
]
PLAN = json.dumps(TENSORS).encode()


class Streams:
    """Stands for a GPU's: work runs at once, on stream 7, or on 8 while it is captured."""

    def __init__(self) -> None:
        self.inside = False
        self.log: list[str] = []

    def enqueue(self, work: Callable[[int], None]) -> None:
        self.log.append("enqueue")
        work(7)

    def capture(self, work: Callable[[int], None]) -> Callable[[], None] | None:
        if self.inside:
            return None
        self.log.append("capture")

        def replay() -> None:
            self.log.append("replay")
            work(8)

        return replay


@pytest.fixture(autouse=True)
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fake in the place of what is installed."""
    monkeypatch.setattr("runtime.engines.backends.trt.require_edition", lambda edition: fake)
    fake.Runtime.made.clear()


def make(streams: Streams | None = None, plan: bytes = PLAN, spec: EngineSpec = SPEC) -> TrtEngine:
    return TrtEngine(spec, plan, device="cpu", streams=streams or Streams())


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's values where an address is a multiple of 256, as on a GPU all are."""
    room = torch.empty(tensor.nbytes + 256, dtype=torch.uint8)
    begin = -room.data_ptr() % 256
    return room[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape).copy_(tensor)


def feeds(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    return aligned(torch.rand(batch, 64)), aligned(torch.arange(batch * 64).reshape(batch, 64))


def results() -> tuple[torch.Tensor, torch.Tensor]:
    return aligned(torch.zeros(2, 64)), aligned(torch.zeros(2, 64, dtype=torch.int64))


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_values_pass_by_address_in_every_type_and_shape(batch: int) -> None:
    x, n = feeds(batch)
    y, m = make()(x, n)
    torch.testing.assert_close(y, x + n)
    assert torch.equal(m, (2 * (x.double() + n)).long())


def test_outputs_are_fresh_and_inputs_untouched() -> None:
    engine, (x, n) = make(), feeds(2)
    before = x.clone()
    first, second = engine(x, n)[0], engine(x, n)[0]
    kept = first.clone()
    second.zero_()
    assert torch.equal(first, kept)
    assert torch.equal(x, before)


def test_strided_and_unaligned_inputs_give_the_same() -> None:
    engine, (x, n) = make(), feeds(2)
    wide = torch.zeros(2, 128)
    wide[:, ::2] = x
    shifted = torch.cat((torch.zeros(1), x.flatten()))[1:].reshape(2, 64)
    assert shifted.data_ptr() % 256
    for view in (wide[:, ::2], shifted):
        assert torch.equal(engine(view, n)[0], engine(x, n)[0])


def test_a_context_is_made_once_and_shapes_set_only_where_they_change() -> None:
    engine = make()
    for batch in (2, 2, 4, 4, 1):
        engine(*feeds(batch))
    (made,) = fake.Runtime.made
    (context,) = made.contexts
    kinds = [call[0] for call in context.calls]
    once = ["shape", "shape", "memory"]
    assert kinds == [*once, "run", "run", *once, "run", "run", *once, "run"]
    assert [call[1] for call in context.calls if call[0] == "memory"] == [128, 256, 256]  # grows, never shrinks
    assert {call[1] for call in context.calls if call[0] == "run"} == {7}


def test_a_binding_is_enqueued_once_then_captured_and_replayed() -> None:
    streams = Streams()
    engine, (x, n) = make(streams), feeds(2)
    y, m = results()
    run = engine.bind((x, n), (y, m))
    for value in (1.0, 2.0, 3.0):
        x.fill_(value)
        run()
        torch.testing.assert_close(y, n + value)
    assert streams.log == ["enqueue", "capture", "replay", "replay"]


def test_inside_another_capture_a_binding_enqueues_itself() -> None:
    streams = Streams()
    run = make(streams).bind(feeds(2), results())
    streams.inside = True
    run()
    run()
    assert streams.log == ["enqueue", "enqueue"]


def test_what_cannot_be_captured_is_enqueued_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.Engine, "capturable", False)
    streams = Streams()
    run = make(streams).bind(feeds(2), results())
    for _ in range(3):
        run()
    assert streams.log == ["enqueue"] * 3


def test_bindings_have_contexts_of_their_own() -> None:
    engine, (x, n) = make(), feeds(2)
    outputs = [results(), results()]
    runs = [engine.bind((x, n), pair) for pair in outputs]
    engine(*feeds(5))
    for run in runs:
        run()
    assert len(fake.Runtime.made[0].contexts) == 3
    torch.testing.assert_close(outputs[0][0], outputs[1][0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.zeros(2, 64),), "engine 'sum': expected 2 inputs (x, n), got 1"),
        (feeds(9), "engine 'sum' dimension 'B': expected 1 to 8, got 9"),
        ((torch.zeros(2, 63), feeds(2)[1]), "engine 'sum' input 'x': expected (2, 64) float32, got (2, 63) float32"),
    ],
)
def test_what_does_not_fit_is_named_as_every_backend_names_it(inputs: tuple, message: str) -> None:
    with pytest.raises(ValueError, match="engine") as error:
        make()(*inputs)
    assert str(error.value) == message


def test_an_input_that_requires_a_gradient_is_refused() -> None:
    x, n = feeds(2)
    with pytest.raises(ValueError, match="input 'x' requires a gradient, but this engine runs forward only"):
        make()(x.requires_grad_(), n)


@pytest.mark.parametrize("where", ["strided", "unaligned"])
def test_tensors_that_cannot_be_bound_are_refused(where: str) -> None:
    x, n = feeds(2)
    x = torch.zeros(2, 128)[:, ::2] if where == "strided" else torch.zeros(129)[1:].reshape(2, 64)
    with pytest.raises(ValueError, match="expected contiguous tensors on cpu whose address is a multiple of 256"):
        make().bind((x, n), results())


def test_a_failed_run_says_what_tensorrt_said() -> None:
    engine = make()
    engine(*feeds(2))
    fake.Runtime.made[0].contexts[0].fails = True
    with pytest.raises(RuntimeError, match="engine 'sum': TensorRT could not run: out of memory"):
        engine(*feeds(2))
    with pytest.raises(RuntimeError, match="engine 'sum' input 'x': shape out of profile"):
        engine(*feeds(3))


def test_a_plan_that_tensorrt_does_not_take_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"cannot load its plan: magic tag does not match; build it for this GPU with"):
        make(plan=b"no plan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "z"}, r"disagree on tensors: expected \['m', 'n', 'x', 'y'\], got \['m', 'n', 'y', 'z'\]"),
        ({"shape": [-1, 65]}, r"disagree on 'x': expected \(B, 64\) float32, got \(-1, 65\) FLOAT"),
        ({"shape": [64]}, "disagree on 'x'"),
        ({"type": "HALF"}, r"disagree on 'x': expected \(B, 64\) float32, got \(-1, 64\) HALF"),
    ],
)
def test_a_plan_of_other_tensors_is_refused(change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(plan=json.dumps([TENSORS[0] | change, *TENSORS[1:]]).encode())


def test_calls_from_several_threads_do_not_mix() -> None:
    engine, wrong = make(), []

    def work(value: int) -> None:
        x, n = torch.full((2, 64), float(value)), torch.full((2, 64), value)
        wrong.extend(i for i in range(30) if not (engine(x, n)[0] == 2 * value).all())

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_without_a_gpu_the_error_names_another_backend() -> None:
    with pytest.raises(UserError, match="engine 'sum': TensorRT-RTX needs an NVIDIA GPU, got none; use --backend ort"):
        TrtEngine(SPEC, PLAN)


def test_an_edition_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    editions.load_edition.cache_clear()
    try:
        assert editions.installed_editions() == []
        with pytest.raises(UserError, match=r'TensorRT-RTX is not installed here; .*pip install -e ".*\[tensorrt\]"'):
            editions.require_edition("tensorrt_rtx")
        monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))  # a stub without its libraries
        assert editions.installed_editions() == []
    finally:
        editions.load_edition.cache_clear()
