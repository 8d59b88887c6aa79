"""Value and vector-Jacobian product of a frozen network as one ONNX graph, whose weights lie in a file beside it.

Autograd is recorded (`export.vjp.trace`), its operators are replaced by closed forms on maps (`export.vjp.rules`, for
any runtime) or on rows (`vjp.rows.rules`, for ONNX Runtime's CPU), and the result is exported with the weights
as inputs, which then become names of places in the network's weights.safetensors. So the exporter can neither copy nor
fold a weight, and a graph of a few dozen kilobytes serves beside the forward one.
"""

from functools import cache
from typing import Any

import onnx
from torch import fx, nn

from export.graph.shared import Stored, weights_of
from export.graph.tidy import drop_unused, fuse_transposed, shorten_names
from export.graph.trace import pin
from export.vjp.emit import emit
from export.vjp.rows.layout import Rows, to_map
from export.vjp.rows.rules import RowRules
from export.vjp.rows.split import split
from export.vjp.rules import RULES
from export.vjp.trace import trace_again, trace_vjp
from runtime.engines.spec import EngineSpec, TensorSpec


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
    """Return the spec of the graph (x, cotangent) -> (y, gradient) of a network with one input and one output."""
    if len(spec.inputs) != 1 or len(spec.outputs) != 1:
        raise ValueError(f"{spec.name}: expected one input and one output, got {len(spec.inputs)}, {len(spec.outputs)}")
    (x,), (y,) = spec.inputs, spec.outputs
    cotangent, gradient = TensorSpec("cotangent", y.shape, y.dtype), TensorSpec("gradient", x.shape, x.dtype)
    return EngineSpec(f"{spec.name}_vjp", (x, cotangent), (y, gradient), spec.ranges)


class Recorded:
    """A network's value and gradient, recorded, from which the graphs are written.

    Every graph's weights are those of a file beside it, by the names that the module's state has for them.
    """

    def __init__(self, module: nn.Module, spec: EngineSpec, stored: Stored) -> None:
        """Record a network.

        Args:
            module: frozen, in evaluation mode; one tensor in, one tensor out, both with the batch first. Its parameters
                may be on the meta device.
            spec: what it takes and gives.
            stored: the file of its weights, by the names of the module's state.

        Raises:
            ValueError: the file lacks a parameter.
        """
        shape = spec.inputs[0].shape
        self.spec, self._stored = vjp_spec(spec), stored
        self._traced = trace_vjp(module, [2, *(int(size) for size in shape[1:])])
        self._weights = {f"w.{name}": name for name in self._traced.weights if name in stored.places}
        buffers = dict(module.named_buffers())
        for name in self._traced.weights:
            if name not in stored.places and name not in buffers:
                raise ValueError(f"{stored.file}: expected the parameter {name!r}, got none")
        self._constants = {f"w.{name}": buffers[name] for name in self._traced.weights if name not in stored.places}

    def whole(self, *, rows: bool) -> onnx.ModelProto:
        """Return the graph (x, cotangent) -> (y, gradient).

        Args:
            rows: for ONNX Runtime's CPU kernels, else for any runtime.

        Raises:
            ValueError: the file lacks a weight, or an operator has no form in ONNX.
        """
        return self._write(self._again(rows=rows), self.spec, rows=rows)

    def halves(self) -> tuple[tuple[onnx.ModelProto, EngineSpec], tuple[onnx.ModelProto, EngineSpec]]:
        """Return the graphs x -> (y, *saved) and (cotangent, *saved) -> gradient on rows, each with its spec."""
        forward, backward, shapes = split(self._again(rows=True))
        (x, cotangent), (y, gradient) = self.spec.inputs, self.spec.outputs
        saved = tuple(TensorSpec(f"saved{i}", shape, "float32") for i, shape in enumerate(shapes))
        name, ranges = self.spec.name.removesuffix("_vjp"), self.spec.ranges
        specs = (
            EngineSpec(f"{name}_forward", (x,), (y, *saved), ranges),
            EngineSpec(f"{name}_backward", (cotangent, *saved), (gradient,), ranges),
        )
        first, second = (self._write(g, s, rows=True) for g, s in zip((forward, backward), specs, strict=True))
        return (first, specs[0]), (second, specs[1])

    @cache  # noqa: B019  (a record lives as long as its files are written)
    def _again(self, *, rows: bool) -> fx.GraphModule:
        return trace_again((_Rows if rows else _Maps)(self._traced.graph).run, self._traced)

    def _write(self, graph: fx.GraphModule, spec: EngineSpec, *, rows: bool) -> onnx.ModelProto:
        names = [tensor.name for tensor in spec.inputs], [tensor.name for tensor in spec.outputs]
        weights = [f"w.{name}" for name in self._traced.weights]
        model = emit(graph, [*names[0], *weights], names[1], spec.name)
        weights_of(model, self._weights, self._constants, self._stored)
        if rows:
            fuse_transposed(model)
        drop_unused(model.graph)
        shorten_names(model, [*names[0], *names[1]])
        pin(model, spec)
        return model


def vjp_files(module: nn.Module, spec: EngineSpec, stored: Stored) -> dict[str, bytes]:
    """Return the files of a network's folder with its gradient, by name; arguments as of `Recorded`.

    vjp.onnx, of the spec vjp.json, is for any runtime; vjp.cpu.onnx, where it differs, is the same for ONNX Runtime on
    a CPU. forward.cpu.onnx and backward.cpu.onnx are the halves of the latter, for a loop that knows the cotangent
    only after the value; they have specs of their own.
    """
    recorded = Recorded(module, spec, stored)
    models = {"vjp.onnx": recorded.whole(rows=False), "vjp.cpu.onnx": recorded.whole(rows=True)}
    specs = {"vjp.json": recorded.spec}
    for name, (model, half) in zip(("forward.cpu", "backward.cpu"), recorded.halves(), strict=True):
        models[f"{name}.onnx"], specs[f"{name}.json"] = model, half
    contents = {name: model.SerializeToString(deterministic=True) for name, model in models.items()}
    if contents["vjp.onnx"] == contents["vjp.cpu.onnx"]:
        del contents["vjp.cpu.onnx"]
    return contents | {name: spec.to_json().encode() for name, spec in specs.items()}
