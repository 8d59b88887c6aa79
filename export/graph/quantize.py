"""Store a model's weights in few bits and let the runtime unpack them once, when a session is made.

A large float32 initializer is replaced by its codes and the plain operators that turn them back into float32 (Cast,
Mul, Add, BitShift, BitwiseAnd, Concat, Reshape). They depend on constants alone, so ONNX Runtime folds them away at
session creation: the file is small, each run costs what the float32 model's does. Where a table is only looked up (an
embedding), the rows are gathered packed and unpacked after, so that the whole table never exists in float32.

The values are those of `train.quantize`, to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from runtime.engines.backends.eager import SCALE_SUFFIX
from runtime.engines.precision import Storage
from train.quantize import Groups, dequantize_groups, quantize_channels

THRESHOLD = 4096
"""Least number of values of a weight that is quantized. A U-Net's first and last convolutions have fewer: all that
passes through them would take their rounding, and they take little space."""


@dataclass(frozen=True)
class _Use:
    """Where a weight is consumed: by which node, and along which axis its output channels lie."""

    node: onnx.NodeProto
    axis: int


class _Rewriter:
    """Collects the constants and nodes that replace weights."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in self.graph.input}

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def to_float(self, source: str, output: str) -> str:
        return self.op("Cast", [source], output, to=TensorProto.FLOAT)

    def finish(self, taken: set[str]) -> None:
        """Put the new nodes in front of the old ones and drop the weights that they replace."""
        rest = [weight for weight in self.graph.initializer if weight.name not in taken]
        # In front, as ONNX wants nodes sorted; they read constants and inputs of the graph only.
        nodes = [*self.nodes, *self.graph.node]
        del self.graph.initializer[:], self.graph.node[:]
        self.graph.initializer.extend([*rest, *self.constants])
        self.graph.node.extend(nodes)


def quantize(
    model: onnx.ModelProto, storage: Storage, *, groups: Sequence[Groups] = (), threshold: int = THRESHOLD
) -> onnx.ModelProto:
    """Return a copy of a model whose large weights are stored in few bits.

    Args:
        model: float32, its weights inside.
        storage: float32, float16 or int8, for the matrices and kernels of Conv, ConvTranspose, Gemm, MatMul and
            Gather.
        groups: matrices that come as codes in groups; each is found in the model by its values, transposed or not, and
            stored as these codes.
        threshold: least number of values of a weight that `storage` applies to.

    Raises:
        ValueError: bfloat16, which no network is quantized to, or a group that the model has no weight for.
    """
    if storage == Storage.BFLOAT16:
        raise ValueError(f"storage: expected float32, float16 or int8, got {storage}")
    # A copy, since a caller may quantize one traced model in several ways.
    model = onnx.ModelProto.FromString(model.SerializeToString())
    rewriter = _Rewriter(model)
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer if w.data_type == TensorProto.FLOAT}
    taken = set()
    # Groups first: their weights are found by value, and must not be rounded a second time by `storage`.
    for stored in groups:
        taken.add(_store_groups(rewriter, stored, weights))
    for name, weight in weights.items():
        use = _use_of(model.graph, name)
        if storage == Storage.FLOAT32 or name in taken or use is None or weight.size < threshold or weight.ndim < 2:
            continue
        (_store_half if storage == Storage.FLOAT16 else _store_channels)(rewriter, name, weight, use)
        taken.add(name)
    # Names of weights stay: what was an initializer is now the output of the last unpacking node, so no reader changes.
    rewriter.finish(taken)
    onnx.checker.check_model(model)
    return model


def quantize_state(state: dict[str, Tensor], storage: Storage, *, threshold: int = THRESHOLD) -> dict[str, Tensor]:
    """Return the weights of a PyTorch module, stored in the same way to the same values as the model's.

    Args:
        state: float32 weights, output channels first.
        storage: of the weights, as of `quantize`.
        threshold: least number of values of a weight that it applies to.
    """
    stored = {}
    for name, weight in state.items():
        large = weight.numel() >= threshold and weight.ndim >= 2
        if large and storage == Storage.INT8:
            codes, step = quantize_channels(weight)
            stored[name], stored[name + SCALE_SUFFIX] = codes.contiguous(), step.flatten()
        else:
            stored[name] = weight.half().contiguous() if large and storage == Storage.FLOAT16 else weight.contiguous()
    return stored


def _use_of(graph: onnx.GraphProto, name: str) -> _Use | None:
    """Return the use of a weight; None if it is no matrix or kernel, or if its uses disagree on the axis."""
    # One step for each output channel: a weight that two nodes read along different axes has no such thing.
    uses = [_Use(node, _axis(node, name)) for node in graph.node if name in node.input]
    axes = {use.axis for use in uses}
    return uses[0] if len(axes) == 1 and -1 not in axes else None


def _axis(node: onnx.NodeProto, name: str) -> int:
    """Return the axis of the output channels of a weight, -1 where the node does not take it as a weight."""
    attributes = {a.name: a.i for a in node.attribute}
    place = list(node.input).index(name)
    if node.op_type == "Gather":
        return 0 if place == 0 and attributes.get("axis", 0) == 0 else -1
    if place != 1:
        return -1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": 1, "Gemm": 0 if attributes.get("transB") else 1}.get(
        node.op_type, -1
    )


def _store_half(rewriter: _Rewriter, name: str, weight: np.ndarray, use: _Use) -> None:
    greatest = float(np.abs(weight).max())
    # A cast would turn such a weight into infinity without a word.
    if greatest > float(np.finfo(np.float16).max):
        raise ValueError(f"weight {name!r}: expected magnitudes that float16 holds, got {greatest}")
    rewriter.to_float(rewriter.constant(f"{name}.half", weight.astype(np.float16)), name)


def _store_channels(rewriter: _Rewriter, name: str, weight: np.ndarray, use: _Use) -> None:
    # The trainer's own function, on output channels first, as PyTorch's module has it: both get the same codes.
    codes, step = quantize_channels(torch.from_numpy(np.moveaxis(weight, use.axis, 0).copy()))
    codes, step = (np.moveaxis(part.numpy(), 0, use.axis) for part in (codes, step))
    values = rewriter.to_float(rewriter.constant(f"{name}.codes", codes), f"{name}.values")
    rewriter.op("Mul", [values, rewriter.constant(f"{name}.step", step)], name)


def _store_groups(rewriter: _Rewriter, stored: Groups, weights: dict[str, np.ndarray]) -> str:
    """Store one weight as codes in groups, by the uses that it has; return its name."""
    values = dequantize_groups(stored).numpy()
    name, transposed = _find(values, weights)
    rows, columns = values.shape
    size = stored.codes.shape[1]
    if columns % size:
        raise ValueError(f"weight {name!r}: expected rows of a multiple of {size} values, got {values.shape}")
    codes = stored.codes.numpy().reshape(rows, columns)
    planes = _planes(int(codes.max()).bit_length())
    names = [
        rewriter.constant(f"{name}.plane{i}", _pack(codes >> shift & (1 << bits) - 1, bits))
        for i, (bits, shift) in enumerate(planes)
    ]
    # float16, as the trainer has them: wider, they would be the same values in twice the bytes.
    names += [
        rewriter.constant(f"{name}.{k}", getattr(stored, k).numpy().reshape(rows, -1, 1)) for k in ("step", "low")
    ]
    # A table that is only looked up stays packed: unpacking the rows of a prompt is cheaper than holding all of them.
    lookups = [node for node in rewriter.graph.node if name in node.input]
    if not transposed and all(n.op_type == "Gather" and rewriter.ranks.get(n.input[1]) for n in lookups):
        for node in lookups:
            _unpack_rows(rewriter, node, names, planes, columns, size)
        return name
    matrix = f"{name}.rows" if transposed else name
    _unpack(rewriter, matrix, names, planes, [rows], columns, size)
    if transposed:
        rewriter.op("Transpose", [matrix], name, perm=[1, 0])
    return name


def _find(values: np.ndarray, weights: dict[str, np.ndarray]) -> tuple[str, bool]:
    for name, weight in weights.items():
        for transposed in (False, True):
            # The exporter may have transposed a Linear's matrix to feed MatMul; codes are in the trained orientation.
            candidate = weight.T if transposed else weight
            if candidate.shape == values.shape and np.array_equal(candidate, values):
                return name, transposed
    raise ValueError(
        f"groups of a weight of shape {values.shape}: expected its values in the model, got no such weight"
    )


def _planes(bits: int) -> list[tuple[int, int]]:
    """Return (bits, shift) of the planes that a code is cut into, each of 8, 4, 2 or 1 bits, low ones first."""
    # A byte holds a whole number of codes of these widths; codes of 3, 5 or 6 bits would straddle bytes.
    planes, shift = [], 0
    for size in (8, 4, 2, 1):
        if bits - shift >= size:
            planes.append((size, shift))
            shift += size
    return planes


def _pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return packed rows of n bytes: byte j of a row holds its codes j, j + n, j + 2 n and so on."""
    # Strided, not neighbours: unpacked parts are then concatenated as they are, without interleaving.
    parts = np.split(codes, 8 // bits, axis=1)
    return np.bitwise_or.reduce([part << (i * bits) for i, part in enumerate(parts)]).astype(np.uint8)


def _unpack_rows(
    rewriter: _Rewriter, node: onnx.NodeProto, names: list[str], planes: list[tuple[int, int]], columns: int, size: int
) -> None:
    """Gather packed rows and unpack only these, instead of a lookup in the whole table."""
    result, ids = node.output[0], node.input[1]
    # Step and low are gathered with the codes: each row of the table has its own.
    rows = [rewriter.op("Gather", [name, ids], f"{result}.{i}", axis=0) for i, name in enumerate(names)]
    _unpack(rewriter, result, rows, planes, [0] * rewriter.ranks[ids], columns, size)
    rewriter.graph.node.remove(node)


def _unpack(
    rewriter: _Rewriter,
    result: str,
    parts: list[str],
    planes: list[tuple[int, int]],
    lead: list[int],
    columns: int,
    size: int,
) -> None:
    """Emit value = code * step + low for packed rows; `lead` are the sizes in front of the columns (0 copies one)."""
    # The planes are joined as integers: only their sum is a code, and float32 comes last.
    codes = ""
    for i, (bits, shift) in enumerate(planes):
        plane = _unpack_plane(rewriter, parts[i], bits, f"{result}.plane{i}")
        if shift:
            shifted = _shift(rewriter, plane, shift, "LEFT", f"{plane}.shifted")
            plane = rewriter.op("BitwiseOr", [codes, shifted], f"{result}.codes{i}")
        codes = plane
    values = rewriter.to_float(codes, f"{result}.values")
    grouped = rewriter.constant(f"{result}.grouped", np.array([*lead, columns // size, size], np.int64))
    values = rewriter.op("Reshape", [values, grouped], f"{result}.groups")
    step, low = (rewriter.to_float(part, f"{result}.float{i}") for i, part in enumerate(parts[len(planes) :]))
    values = rewriter.op("Add", [rewriter.op("Mul", [values, step], f"{result}.scaled"), low], f"{result}.moved")
    flat = rewriter.constant(f"{result}.flat", np.array([*lead, columns], np.int64))
    rewriter.op("Reshape", [values, flat], result)


def _unpack_plane(rewriter: _Rewriter, source: str, bits: int, result: str) -> str:
    if bits == 8:
        return source
    # The mask also clears what a shift to the right brings down from the neighbouring codes.
    mask = rewriter.constant(f"{result}.mask", np.array((1 << bits) - 1, np.uint8))
    parts = []
    for i in range(8 // bits):
        part = _shift(rewriter, source, i * bits, "RIGHT", f"{result}.shift{i}") if i else source
        parts.append(rewriter.op("BitwiseAnd", [part, mask], f"{result}.part{i}"))
    return rewriter.op("Concat", parts, f"{result}.all", axis=-1)


def _shift(rewriter: _Rewriter, source: str, count: int, direction: str, result: str) -> str:
    amount = rewriter.constant(f"{result}.count", np.array(count, np.uint8))
    return rewriter.op("BitShift", [source, amount], result, direction=direction)
