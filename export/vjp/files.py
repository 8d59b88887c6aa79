"""One ONNX graph of a frozen network's value and vector-Jacobian product; its weights lie in a file beside it.

Autograd is recorded (`export.vjp.trace`), its operators are replaced by closed forms (`export.vjp.rules`), and the
result is written with the weights as inputs (`export.vjp.emit`), which then become names of places in the network's
weights.safetensors. So no exporter can copy or fold a weight, and the graph adds only a few dozen kilobytes to the
forward one.
"""

from typing import Any

import onnx
from torch import fx, nn

from export.graph.external_weights import WeightsFile, inputs_to_weights
from export.graph.prune import drop_unused, shorten_names
from export.graph.trace import pin
from export.vjp.emit import emit
from export.vjp.rules import RULES
from export.vjp.trace import trace_again, trace_vjp
from runtime.engines.spec import EngineSpec, TensorSpec


class _ClosedForms(fx.Interpreter):
    """Runs a graph by the rules."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return RULES.get(target, target)(*args, **kwargs)


def vjp_spec(spec: EngineSpec) -> EngineSpec:
    """Return the spec of the graph (x, cotangent) -> (y, gradient) of a network with one input and one output."""
    if len(spec.inputs) != 1 or len(spec.outputs) != 1:
        raise ValueError(f"{spec.name}: expected one input and one output, got {len(spec.inputs)}, {len(spec.outputs)}")
    (x,), (y,) = spec.inputs, spec.outputs
    cotangent = TensorSpec("cotangent", y.shape, y.dtype)
    gradient = TensorSpec("gradient", x.shape, x.dtype)
    return EngineSpec(f"{spec.name}_vjp", (x, cotangent), (y, gradient), spec.ranges)


def vjp_model(module: nn.Module, spec: EngineSpec, file: WeightsFile) -> onnx.ModelProto:
    """Return the graph (x, cotangent) -> (y, gradient) of a network.

    Args:
        module: frozen, in evaluation mode; one tensor in, one tensor out, both with the batch first. Its parameters may
            be on the meta device.
        spec: its inputs and outputs.
        file: holds its weights under the names of the module's state.

    Raises:
        ValueError: the file lacks a parameter, or an operator has no form in ONNX.
    """
    both = vjp_spec(spec)
    # Two examples, not one: PyTorch's tracer takes a size of 1 for a constant, and the batch is to stay free.
    traced = trace_vjp(module, [2, *(int(size) for size in spec.inputs[0].shape[1:])])
    # A buffer that is not persistent is in no file of weights; its values go into the graph itself.
    buffers = dict(module.named_buffers())
    missing = [name for name in traced.weights if name not in file.places and name not in buffers]
    if missing:
        raise ValueError(f"{file.name}: expected the parameter {missing[0]!r}, got none")
    # The rules are applied by recording anew: what they compute of constants is then seen by the recorder as constant.
    graph = trace_again(_ClosedForms(traced.graph).run, traced)
    inputs = [tensor.name for tensor in both.inputs]
    outputs = [tensor.name for tensor in both.outputs]
    model = emit(graph, [*inputs, *(f"w.{name}" for name in traced.weights)], outputs, both.name)
    # The prefix keeps a weight's name apart from those that the emitter counts and from inputs and outputs.
    stored = {f"w.{name}": name for name in traced.weights if name in file.places}
    constants = {f"w.{name}": buffers[name] for name in traced.weights if name not in file.places}
    inputs_to_weights(model, stored, constants, file)
    drop_unused(model.graph)
    shorten_names(model, [*inputs, *outputs])
    pin(model, both)
    return model


def vjp_files(module: nn.Module, spec: EngineSpec, file: WeightsFile) -> dict[str, bytes]:
    """Return vjp.onnx and its spec, vjp.json, for a network's folder; arguments and errors as of `vjp_model`."""
    model = vjp_model(module, spec, file)
    return {"vjp.onnx": model.SerializeToString(deterministic=True), "vjp.json": vjp_spec(spec).to_json().encode()}
