"""Cast a float32 graph so that its products run in half precision; what would lose accuracy stays in float32.

TensorRT is strongly typed: what a network computes in is in its graph. Convolutions and matrix products go to float16
or bfloat16. Normalizations, softmax, reductions, powers, exponentials and trigonometric functions stay in float32, and
so does every other operator one of whose inputs is still float32 (the deviations of a normalization that is written
out, a mask of -1e38), or whose constants half precision can't hold (an epsilon of 1e-12). Inputs and outputs of the
network stay what its spec says.
"""

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from export.graph.external_data import ExternalDataModel
from export.graph.fold import drop_unused_weights
from runtime.engines.precision import Compute

HALF_TYPES: Mapping[Compute, tuple[int, np.dtype]] = {
    Compute.FP16: (TensorProto.FLOAT16, np.dtype(np.float16)),
    Compute.BF16: (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
}
"""Number in ONNX and NumPy type of each half precision."""

PRODUCTS = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"))
"""Operators that always go to half precision."""

_NORMALIZATIONS = ("Layer", "Group", "Instance", "Batch", "RMS", "Lp", "MeanVariance")
_REDUCTIONS = ("Sum", "Mean", "L1", "L2", "SumSquare", "LogSum", "LogSumExp", "Prod")
_FUNCTIONS = ("Softmax", "LogSoftmax", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Sin", "Cos")
FLOAT32_OPERATORS = frozenset(
    {f"{name}Normalization" for name in _NORMALIZATIONS}
    | {f"Reduce{name}" for name in _REDUCTIONS}
    | {*_FUNCTIONS, "CumSum", "GlobalAveragePool", "Range", "Cast"}
)
"""Operators that stay in float32."""

# The scales of a Resize are float32 whatever the type of its picture; its region stays with them.
_ALWAYS_FLOAT = {"Resize": (1, 2)}  # places of inputs whose type ONNX fixes


def to_half(model: ExternalDataModel, compute: Compute) -> ExternalDataModel:
    """Change a model so that its products run in half precision; return it.

    Args:
        model: float32 where it matters; parts in another type stay as they are.
        compute: one of `HALF_TYPES`.

    Raises:
        ValueError: a type that is not half precision, or a graph with branches or loops.
    """
    if compute not in HALF_TYPES:
        raise ValueError(f"compute: expected one of {', '.join(HALF_TYPES)}, got {compute!s:.60}")
    caster = _Caster(model, *HALF_TYPES[compute])
    graph = model.proto.graph
    # Copies: the nodes of a protobuf list end with it, and the list is refilled below.
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    for node in nodes:
        caster.add(node)
    for value in graph.output:
        caster.settle(value.name)
    # Inferred types of inner tensors are no longer true.
    del graph.node[:], graph.value_info[:]
    graph.node.extend(caster.nodes)
    drop_unused_weights(model)
    return model


class _Caster:
    """Walks over nodes in order and records the types in which each float32 tensor exists so far."""

    def __init__(self, model: ExternalDataModel, kind: int, dtype: np.dtype) -> None:
        self.model, self.kind, self.dtype = model, kind, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.floats = _float_names(model.proto)
        self.weights = {name: value for name, value in model.values().items() if name in self.floats}
        self.half: set[str] = set()  # tensors that are computed in half precision
        self.casts: dict[tuple[str, bool], str] = {}
        graph = model.proto.graph
        self.names = {name for node in graph.node for name in (*node.input, *node.output)}

    def add(self, node: onnx.NodeProto) -> None:
        """Add a node in the type that it runs in, and the casts of its inputs before it."""
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise ValueError(f"node {node.name!r} ({node.op_type}): expected a graph without branches and loops")
        # Only float32 inputs are looked at: shapes, indices and masks stay as they are.
        fixed = _ALWAYS_FLOAT.get(node.op_type, ())
        places = [i for i, name in enumerate(node.input) if name in self.floats and i not in fixed]
        half = bool(places) and self._runs_in_half(node, [node.input[i] for i in places])
        # A Cast takes any type, and casting its input first would round twice.
        if node.op_type != "Cast":
            for i in places:
                node.input[i] = self._as(node.input[i], half)
        self.nodes.append(node)
        if half:
            # Only float32 outputs change their type; indices and masks among the results do not.
            self.half |= {name for name in node.output if name in self.floats}

    def _runs_in_half(self, node: onnx.NodeProto, inputs: Sequence[str]) -> bool:
        if node.op_type in FLOAT32_OPERATORS:
            return False
        weights = [name for name in inputs if name in self.weights]
        if not all(self._holds(self.weights[name]) for name in weights):
            return False
        # Weights alone do not pull an operator into half precision: one computed input in float32 keeps it there.
        computed = [name for name in inputs if name not in self.weights]
        return node.op_type in PRODUCTS or (bool(computed) and all(name in self.half for name in computed))

    def _holds(self, value: np.ndarray) -> bool:
        """Return whether half precision can hold a weight: no overflow, and a single number keeps its digits."""
        limits = ml_dtypes.finfo(self.dtype)
        greatest = float(np.abs(value).max(initial=0.0))
        # Below the smallest normal number digits are lost, or all of it: an epsilon of 0 lets a division fail.
        single = value.size == 1 and 0 < greatest < float(limits.smallest_normal)
        return greatest <= float(limits.max) and not single

    def _as(self, name: str, half: bool) -> str:
        """Return the name of a float tensor in the type that is asked for, cast at most once."""
        if (name in self.half) == half:
            return name
        if (name, half) not in self.casts:
            cast = self.casts[name, half] = self._new_name(f"{name}.{'half' if half else 'float'}")
            if half and name in self.weights:  # stored in half precision, not cast in every run
                self.model.put(cast, self.weights[name].astype(self.dtype))
            else:
                to = self.kind if half else TensorProto.FLOAT
                self.nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=to))
        return self.casts[name, half]

    def _new_name(self, name: str) -> str:
        """Return a name that no tensor has, stored weights included."""
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def settle(self, output: str) -> None:
        """Cast an output of the graph back to its own type."""
        if output not in self.half:
            return
        # The computed value is renamed, also where inner nodes read it, and cast under the output's own name.
        inner = self._new_name(f"{output}.inner")
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == output:
                        names[i] = inner
        self.nodes.append(helper.make_node("Cast", [inner], [output], name=output, to=TensorProto.FLOAT))


def _float_names(model: onnx.ModelProto) -> set[str]:
    """Return the names of all float32 tensors of a graph."""
    # A constant as a node has no values that `_holds` could look at, and would be cast in every run.
    _constants_to_weights(model.graph)
    # ONNX states types of inputs and outputs only; whether a tensor in between is float32 has to be inferred.
    inferred = onnx.shape_inference.infer_shapes(model).graph
    # Weights may be typed twice, as value and as initializer; the initializer is what is stored, so it comes last.
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    typed = {value.name: value.type.tensor_type.elem_type for value in values}
    typed |= {weight.name: weight.data_type for weight in inferred.initializer}
    # A tensor of unknown type might be float32 and stay uncast: a strongly typed builder would fail much later.
    unknown = [name for node in inferred.node for name in node.output if name and name not in typed]
    if unknown:
        raise ValueError(f"{inferred.name}: the types of these tensors are unknown: {', '.join(unknown[:5])}")
    return {name for name, kind in typed.items() if kind == TensorProto.FLOAT}


def _constants_to_weights(graph: onnx.GraphProto) -> None:
    rest = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            rest.append(onnx.NodeProto.FromString(node.SerializeToString()))
        else:
            graph.initializer.add().CopyFrom(value)
            graph.initializer[-1].name = node.output[0]
    del graph.node[:]
    graph.node.extend(rest)
