"""Write a recorded graph of ATen operators as ONNX, node by node; every size but the batch is static.

PyTorch's own exporter takes minutes for a graph of a thousand nodes and folds what should stay with the weights. The
graphs here come from `export.vjp.trace`: they have a few dozen operators, and each has a line or two below.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import fx

from export.vjp.trace import aten

OPSET = 20
"""Version of the ONNX operators that are written."""

IR_VERSION = 9
"""Version of the ONNX file format, which goes with it."""

# Slice takes the greatest int64 for an open end.
_END = (1 << 63) - 1


class Emitter:
    """Writes one graph."""

    def __init__(self) -> None:
        """Begin an empty graph."""
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._values: dict[Any, str] = {}
        self._nodes_by_output: dict[str, onnx.NodeProto] = {}
        self.shapes: dict[str, list[Any]] = {}
        self._count = 0
        self.batch = ""

    def new(self) -> str:
        """Return a new name."""
        self._count += 1
        return f"v{self._count:x}"

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Write a node with one output, unless an equal one exists; return its output's name."""
        # Forward and backward compute much twice, such as sigmoids and centred values: equal nodes are one.
        key = (kind, inputs, domain, repr(sorted(attributes.items())))
        if key not in self._values:
            name = self._values[key] = self.new()
            self._nodes_by_output[name] = helper.make_node(kind, list(inputs), [name], domain=domain, **attributes)
            self.nodes.append(self._nodes_by_output[name])
        return self._values[key]

    def reshape(self, x: str, shape: Sequence[Any]) -> str:
        """Return x with other sizes, one of which may depend on the batch; chains of reshapes become one, or none."""
        # Autograd leaves chains of views behind: only their last shape matters.
        while x in self._nodes_by_output and self._nodes_by_output[x].op_type == "Reshape":
            x = self._nodes_by_output[x].input[0]
        if self.shapes.get(x) == _sizes_of(shape):
            return x
        # ONNX infers one size, -1; a reshape with two free sizes would need their values at run time.
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) > 1:
            raise ValueError(f"expected one size that depends on the batch, got {tuple(shape)}")
        return self._shaped(self.op("Reshape", x, self.integers(sizes)), shape)

    def transpose(self, x: str, axes: Sequence[int], shape: Sequence[Any]) -> str:
        """Return x with its axes permuted, of the given shape; two permutations that undo each other are left out."""
        # Backward transposes what forward transposed; pairs that cancel would each copy a whole tensor.
        node = self._nodes_by_output.get(x)
        if node is not None and node.op_type == "Transpose":
            before = list(helper.get_node_attr_value(node, "perm"))
            # Only the exact inverse goes; the node in front stays for its other readers, or is dropped later as unused.
            if [before[axis] for axis in axes] == list(range(len(axes))):
                return node.input[0]
        return self._shaped(self.op("Transpose", x, perm=list(axes)), shape)

    def _shaped(self, name: str, shape: Sequence[Any]) -> str:
        self.note(name, shape)
        return name

    def note(self, name: str, shape: Sequence[Any]) -> None:
        """Keep the sizes of a value; those that depend on the batch are strings."""
        self.shapes.setdefault(name, _sizes_of(shape))

    def several(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Write a node with several outputs; return their names."""
        # Not merged with equal ones: a node is found again by its one output's name.
        names = [self.new() for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Return the name of a constant, written once."""
        array = np.ascontiguousarray(np.asarray(value, dtype=dtype)).reshape(np.shape(value))
        # By bytes: 0.0 and -0.0 are equal numbers and different constants.
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = self.new()
            self.weights.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def integers(self, values: Sequence[int]) -> str:
        """Return the name of a constant vector of int64."""
        return self.constant(np.array(values, np.int64), np.int64)

    def operand(self, value: Any) -> str:
        """Return the name of a value of the graph, or of a number."""
        # ONNX does not promote types: a Python number has to become float32, the type of every tensor here.
        return value if isinstance(value, str) else self.constant(float(value))


def _sizes_of(shape: Sequence[Any]) -> list[int | str]:
    return [size if isinstance(size, int) else str(size) for size in shape]


def emit(module: fx.GraphModule, inputs: Sequence[str], outputs: Sequence[str], name: str) -> onnx.ModelProto:
    """Return the ONNX model of a recorded graph.

    Args:
        module: has only operators of `FORMS`; its tensors are float32, and only their batch is free.
        inputs: names of its placeholders; the model leaves out those that no output depends on.
        outputs: names of its results.
        name: of the model's graph.

    Raises:
        ValueError: an operator without a form, or a shape that a Reshape cannot express.
    """
    emitter, values = Emitter(), {}
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    for node, given in zip(placeholders, inputs, strict=True):
        values[node] = given
        emitter.note(given, node.meta["val"].shape)
    emitter.batch = inputs[0]
    results: Any = ()
    for node in module.graph.nodes:
        if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor | tuple | list):
            values[node] = _call(emitter, node, values)
        elif node.op == "output":
            results = [values[result] for result in node.args[0]]
    # A result may be an input itself, or the same value twice: an Identity each gives it the output's own name.
    for result, given in zip(results, outputs, strict=True):
        emitter.nodes.append(helper.make_node("Identity", [result], [given]))
    sides = (zip(placeholders, inputs, strict=True), zip(list(module.graph.nodes)[-1].args[0], outputs, strict=True))
    takes, gives = (
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, _sizes(node)) for node, given in side]
        for side in sides
    )
    graph = helper.make_graph(emitter.nodes, name, takes, gives, emitter.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _sizes(node: fx.Node) -> list[int | str]:
    return [size if isinstance(size, int) else "B" for size in node.meta["val"].shape]


def _call(emitter: Emitter, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    form = FORMS.get(node.target)
    if form is None:
        raise ValueError(
            f"operator {node.target}: expected one that has a form in ONNX, got none; add it to export.vjp.emit"
        )
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: values.get(n, n))
    result = form(emitter, node, *args, **kwargs)
    if isinstance(result, str):
        emitter.note(result, node.meta["val"].shape)
    return result


def _target(node: fx.Node) -> list[int]:
    """Return the sizes of a node's value for a Reshape: -1 for the one that depends on the batch."""
    sizes = [size if isinstance(size, int) else -1 for size in node.meta["val"].shape]
    if sizes.count(-1) > 1:
        raise ValueError(f"{node}: expected one size that depends on the batch, got {tuple(node.meta['val'].shape)}")
    return sizes


def _source(node: fx.Node, place: int = 0) -> torch.Tensor:
    return node.args[place].meta["val"]  # pyright: ignore


def _reshape(e: Emitter, node: fx.Node, x: str, *_: Any, **__: Any) -> str:
    return e.reshape(x, list(node.meta["val"].shape))


def _permute(e: Emitter, node: fx.Node, x: str, axes: Sequence[int]) -> str:
    return e.transpose(x, [axis % len(axes) for axis in axes], node.meta["val"].shape)


def _transpose(e: Emitter, node: fx.Node, x: str, a: int, b: int) -> str:
    # ATen's axes may be negative, and a list takes those as they are; ONNX wants a whole permutation.
    axes = list(range(_source(node).ndim))
    axes[a], axes[b] = axes[b], axes[a]
    return e.transpose(x, axes, node.meta["val"].shape)


def _expand(e: Emitter, node: fx.Node, x: str, *_: Any, **__: Any) -> str:
    had, has = list(_source(node).shape), list(node.meta["val"].shape)
    had = [1] * (len(has) - len(had)) + had  # ATen lines shapes up at the right
    if had == has:
        return _reshape(e, node, x)
    # Expand broadcasts both ways, so 1 stands for a size that stays, whatever it is.
    sizes = [1 if a == b or not isinstance(b, int) else b for a, b in zip(had, has, strict=True)]
    # An axis that grows from 1 to the batch; its size is known only at run time.
    free = [axis for axis, (a, b) in enumerate(zip(had, has, strict=True)) if a == 1 and not isinstance(b, int)]
    if not free:
        return e.op("Expand", x, e.integers(sizes))
    if free != [0]:
        raise ValueError(f"{node}: expected the batch to come first, got {has}")
    # The batch is read from the first input's shape, so that the graph holds no batch of its own.
    return e.op("Expand", x, e.op("Concat", e.op("Shape", e.batch, start=0, end=1), e.integers(sizes[1:]), axis=0))


def _binary(kind: str) -> Callable[..., str]:
    def form(e: Emitter, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> str:
        b = e.op("Mul", e.operand(b), e.operand(alpha)) if alpha != 1 else e.operand(b)
        return e.op(kind, e.operand(a), b)

    return form


def _unary(kind: str) -> Callable[..., str]:
    return lambda e, node, x: e.op(kind, x)


def _power(e: Emitter, node: fx.Node, x: str, exponent: float) -> str:
    # Backends may compute Pow by way of exponentials; a product is rounded once.
    return e.op("Mul", x, x) if exponent == 2 else e.op("Pow", x, e.operand(exponent))


def _reduce(kind: str) -> Callable[..., str]:
    def form(e: Emitter, node: fx.Node, x: str, axes: Any, keep: bool = False, **_: Any) -> str:
        axes = [axes] if isinstance(axes, int) else axes
        return e.op(kind, x, e.integers(axes), keepdims=int(keep))

    return form


def _addmm(e: Emitter, node: fx.Node, bias: str, a: str, b: str) -> str:
    return e.op("Add", e.op("MatMul", a, b), bias)


def _slice(e: Emitter, node: fx.Node, x: str, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> str:
    parts = [[start or 0], [_END if end is None else end], [axis], [step]]
    return (
        _reshape(e, node, x) if parts[:2] == [[0], [_END]] and step == 1 else e.op("Slice", x, *map(e.integers, parts))
    )


def _select(e: Emitter, node: fx.Node, x: str, axis: int, index: int) -> str:
    # An end of 0 after a start of -1 would give an empty slice.
    parts = ([index], [index + 1 if index != -1 else _END], [axis])
    return e.op("Reshape", e.op("Slice", x, *map(e.integers, parts)), e.integers(_target(node)))


def _flip(e: Emitter, node: fx.Node, x: str, axes: Sequence[int]) -> str:
    # From the last place down past the first one: an end of -1 would mean the last place itself.
    ends = ([-1] * len(axes), [-_END] * len(axes), axes, [-1] * len(axes))
    return e.op("Slice", x, *map(e.integers, ends))


def _zero_pad(e: Emitter, node: fx.Node, x: str, pads: Sequence[int]) -> str:
    ends = [[0] * _source(node).ndim, [0] * _source(node).ndim]
    # PyTorch lists pairs from the last axis on; ONNX all befores, then all behinds, from the first axis on.
    for axis, (before, behind) in enumerate(zip(pads[::2], pads[1::2], strict=True), 1):
        ends[0][-axis], ends[1][-axis] = before, behind
    return e.op("Pad", x, e.integers([*ends[0], *ends[1]]))


def _convolution(
    e: Emitter,
    node: fx.Node,
    x: str,
    weight: str,
    bias: str | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    rest: list[int],
    groups: int,
) -> str:
    inputs = [x, weight] if bias is None else [x, weight, bias]
    # ONNX lists both starts, then both ends, which are equal in ATen: the pair twice.
    sizes: dict[str, Any] = {"strides": stride, "pads": [*padding, *padding], "dilations": dilation, "group": groups}
    # Only ConvTranspose knows an output padding.
    if transposed:
        return e.op("ConvTranspose", *inputs, **sizes, output_padding=rest)
    return e.op("Conv", *inputs, **sizes)


def _pixel_shuffle(e: Emitter, node: fx.Node, x: str, factor: int) -> str:
    # CRD is PyTorch's order of channels; DCR, the default, would mix channels and phases.
    return e.op("DepthToSpace", x, blocksize=factor, mode="CRD")


def _pixel_unshuffle(e: Emitter, node: fx.Node, x: str, factor: int) -> str:
    channels, height, width = _source(node).shape[1:]
    phases = e.op("SpaceToDepth", x, blocksize=factor)  # the channels within each phase; PyTorch has it the other way
    split = e.op("Reshape", phases, e.integers([-1, factor**2, channels, height // factor, width // factor]))
    return e.op("Reshape", e.op("Transpose", split, perm=[0, 2, 1, 3, 4]), e.integers(_target(node)))


def _filled(value: float | None = None) -> Callable[..., str]:
    def form(e: Emitter, node: fx.Node, *args: Any, **_: Any) -> str:
        # The sizes have to be static: a constant of the batch's size could not be written.
        return e.constant(np.full(tuple(node.meta["val"].shape), args[1] if value is None else value))

    return form


def _layer_norm(
    e: Emitter, node: fx.Node, x: str, shape: list[int], weight: str | None, bias: str | None, eps: float
) -> list[str]:
    # ONNX' LayerNormalization has no form without a factor.
    weight = e.constant(np.ones(shape)) if weight is None else weight
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return e.several("LayerNormalization", 3, *inputs, axis=-len(shape), epsilon=eps)


def _split(e: Emitter, node: fx.Node, x: str, sizes: int | list[int], axis: int = 0) -> list[str]:
    # Sizes from the recorded values: the last part of an uneven split is smaller than asked for.
    parts = [int(part.shape[axis]) for part in node.meta["val"]]
    return e.several("Split", len(parts), x, e.integers(parts), axis=axis)


def _clamp_min(e: Emitter, node: fx.Node, x: str, bound: float) -> str:
    return e.op("Max", x, e.operand(bound))


def _compare(kind: str) -> Callable[..., str]:
    return lambda e, node, a, b: e.op(kind, e.operand(a), e.operand(b))


def _where(e: Emitter, node: fx.Node, condition: str, a: Any, b: Any) -> str:
    return e.op("Where", condition, e.operand(a), e.operand(b))


def _matmul(e: Emitter, node: fx.Node, a: str, b: str) -> str:
    return e.op("MatMul", a, b)


FORMS: dict[Any, Callable[..., Any]] = {
    aten.view.default: _reshape,
    aten._unsafe_view.default: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.squeeze.dim: _reshape,
    aten.squeeze.dims: _reshape,
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.t.default: lambda e, node, x: e.transpose(x, [1, 0], node.meta["val"].shape),
    aten.expand.default: _expand,
    aten.add.Tensor: _binary("Add"),
    aten.sub.Tensor: _binary("Sub"),
    aten.mul.Tensor: _binary("Mul"),
    aten.div.Tensor: _binary("Div"),
    aten.add.Scalar: _binary("Add"),
    aten.sub.Scalar: _binary("Sub"),
    aten.mul.Scalar: _binary("Mul"),
    aten.div.Scalar: _binary("Div"),
    aten.rsub.Scalar: lambda e, node, x, a: e.op("Sub", e.operand(a), x),
    aten.pow.Tensor_Scalar: _power,
    aten.neg.default: _unary("Neg"),
    aten.exp.default: _unary("Exp"),
    aten.sqrt.default: _unary("Sqrt"),
    aten.rsqrt.default: lambda e, node, x: e.op("Reciprocal", e.op("Sqrt", x)),
    aten.reciprocal.default: _unary("Reciprocal"),
    aten.sigmoid.default: _unary("Sigmoid"),
    aten.tanh.default: _unary("Tanh"),
    aten.erf.default: _unary("Erf"),
    aten.relu.default: _unary("Relu"),
    aten.silu.default: lambda e, node, x: e.op("Mul", x, e.op("Sigmoid", x)),
    # ONNX has Gelu from opset 20 on; before, it was several nodes.
    aten.gelu.default: lambda e, node, x, approximate="none": e.op("Gelu", x, approximate=approximate),
    aten._softmax.default: lambda e, node, x, axis, _: e.op("Softmax", x, axis=axis),
    aten.mm.default: _matmul,
    aten.bmm.default: _matmul,
    aten.addmm.default: _addmm,
    aten.sum.dim_IntList: _reduce("ReduceSum"),
    aten.mean.dim: _reduce("ReduceMean"),
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.cat.default: lambda e, node, parts, axis=0: e.op("Concat", *parts, axis=axis),
    aten.flip.default: _flip,
    aten.convolution.default: _convolution,
    aten.pixel_shuffle.default: _pixel_shuffle,
    aten.pixel_unshuffle.default: _pixel_unshuffle,
    aten.ones.default: _filled(1.0),
    aten.zeros.default: _filled(0.0),
    aten.full.default: _filled(),
    aten.native_layer_norm.default: _layer_norm,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split,
    operator.getitem: lambda e, node, parts, place: parts[place],
    aten.clamp_min.default: _clamp_min,
    aten.ge.Scalar: _compare("GreaterOrEqual"),
    aten.gt.Scalar: _compare("Greater"),
    aten.le.Scalar: _compare("LessOrEqual"),
    aten.lt.Scalar: _compare("Less"),
    aten.where.self: _where,
    aten.scalar_tensor.default: lambda e, node, value, **_: e.constant(value),
    # A scalar stands for a whole tensor: its readers broadcast, and so its shape need not be known.
    aten.full_like.default: lambda e, node, x, value, **_: e.constant(value),
    aten.zeros_like.default: lambda e, node, x, **_: e.constant(0.0),
    aten.ones_like.default: lambda e, node, x, **_: e.constant(1.0),
    # `_normalize` removes these from the first recording only; the second one may add some again.
    aten.clone.default: lambda e, node, x, **_: x,
    aten.detach.default: lambda e, node, x: x,
    aten.alias.default: lambda e, node, x: x,
    torch.ops.tgm.zero_pad.default: _zero_pad,
    torch.ops.tgm.product.default: _matmul,
}
"""How each operator is written."""
