"""Value and vector-Jacobian product of a frozen network as one ONNX graph, whose weights lie in a file beside it.

Autograd is recorded (`export.vjp_trace`), its operators are replaced by closed forms on maps (`export.vjp_rules`, for
any runtime) or on rows (`export.vjp_rows`, for ONNX Runtime's CPU kernels), and the result is exported with the weights
as inputs, which then become names of places in the network's weights.safetensors. So the exporter can neither copy nor
fold a weight, and a graph of a few dozen kilobytes serves beside the forward one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
import torch
from torch import Tensor, fx, nn

from export.emit import emit
from export.onnx import pin
from export.shared import Stored, weights_of
from export.tidy import drop_unused, fuse_transposed, shorten_names
from export.vjp_rows import RowRules
from export.vjp_rules import RULES
from export.vjp_trace import trace_again, trace_vjp
from export.rows import Rows, to_map
from runtime.engines.spec import EngineSpec, TensorSpec

FOLDED = 64
"""Most values of a constant that the exporter computes beforehand."""


class _Maps(fx.Interpreter):
    """Runs a graph by the rules for maps."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return RULES.get(target, target)(*args, **kwargs)


class _Rows(fx.Interpreter):
    """Runs a graph by the rules for rows where there are such."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._rules = RowRules()

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._rules.call(target, args, kwargs)

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        return tuple(to_map(value) if isinstance(value, Rows) else value for value in args[0])


def vjp_spec(spec: EngineSpec) -> EngineSpec:
    """Return the spec of the value-and-gradient graph of a network with one input and one output."""
    if len(spec.inputs) != 1 or len(spec.outputs) != 1:
        raise ValueError(f"{spec.name}: expected one input and one output, got {len(spec.inputs)}, {len(spec.outputs)}")
    (x,), (y,) = spec.inputs, spec.outputs
    return EngineSpec(
        f"{spec.name}_vjp",
        (x, TensorSpec("cotangent", y.shape, y.dtype)),
        (y, TensorSpec("gradient", x.shape, x.dtype)),
        spec.ranges,
    )


def export_vjp(module: nn.Module, spec: EngineSpec, sample: Tensor, stored: Stored, *, rows: bool) -> onnx.ModelProto:
    """Return the graph (x, cotangent) -> (y, gradient) of a module, its weights those of a file beside it.

    Args:
        module: frozen, in evaluation mode, float32; its state has the file's names.
        spec: what the module takes and gives.
        sample: an input, at least two pictures.
        stored: the file.
        rows: for ONNX Runtime's CPU kernels, else for any runtime.

    Raises:
        ValueError: the file lacks a weight, or the model does not fit the spec.
    """
    traced, spec = trace_vjp(module, sample), vjp_spec(spec)
    graph = trace_again((_Rows if rows else _Maps)(traced.graph).run, traced)
    weights = {f"w.{name}": name for name in traced.weights}
    names = [tensor.name for tensor in spec.inputs], [tensor.name for tensor in spec.outputs]
    model = emit(graph, [*names[0], *weights], names[1], spec.name)
    weights_of(model, weights, stored)
    if rows:
        fuse_transposed(model)
    drop_unused(model.graph)
    shorten_names(model, [*names[0], *names[1]])
    pin(model, spec)
    return model
