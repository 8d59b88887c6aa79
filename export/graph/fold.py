"""Unpack quantized weights beforehand, for a builder that has no operators on bytes.

ONNX Runtime folds what `graph.quantize` writes when a session is made. TensorRT refuses it: int8 constants are for
quantized layers there, and nothing works on uint8. So what depends on constants alone, and on a byte among them, is
computed here by ONNX Runtime and put in the place of its result. A table whose packed rows are looked up is unpacked
whole, by looking up every row.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.graph.external_data import ExternalDataModel, run_model

_BYTES = (TensorProto.INT8, TensorProto.UINT8)


def fold_bytes(model: ExternalDataModel) -> ExternalDataModel:
    """Change a model so that no weight of bytes is left, to the same values; return it.

    Raises:
        ValueError: bytes are used in a way that `export.graph.quantize` does not write.
    """
    _fold_constants(model)
    for name in _packed_lookups(model):
        _unpack_table(model, name)
    left = [w.name for w in model.proto.graph.initializer if w.data_type in _BYTES]
    if left:
        raise ValueError(f"{model.proto.graph.name}: weights of bytes are used in an unknown way: {', '.join(left)}")
    return model


def _fold_constants(model: ExternalDataModel) -> None:
    graph = model.proto.graph
    constant = {w.name: w.data_type in _BYTES for w in graph.initializer}  # name -> whether a byte is behind it
    folded = []
    for node in graph.node:
        if node.input and all(name in constant for name in node.input if name):
            # Nodes without inputs, Constant among them, have no byte behind them and are left alone.
            constant |= dict.fromkeys(node.output, any(constant[name] for name in node.input if name))
            folded.append(node)
    needed: set[str] = set()
    nodes = []
    for node in reversed(folded):
        # Only what leads to bytes is folded: constants in float32 are the builder's own business, and may be large.
        if constant[node.output[0]] or not needed.isdisjoint(node.output):
            needed |= set(node.input)
            nodes.insert(0, node)
    if nodes:
        _replace(model, nodes)


def _replace(model: ExternalDataModel, nodes: list[onnx.NodeProto]) -> None:
    """Compute nodes of constants, and replace those results that other nodes use by weights."""
    graph = model.proto.graph
    results = [name for node in nodes for name in node.output]
    folded = set(results)
    rest = [node for node in graph.node if folded.isdisjoint(node.output)]
    used = {name for node in rest for name in node.input} | {value.name for value in graph.output}
    needed = [name for name in results if name in used]
    # One session for all: each would load the weights anew.
    values = run_model(_part(model, nodes, {}, needed), {}, needed)
    # copies: a node of a protobuf list dies with the list, which is emptied below
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rest]
    del graph.node[:]
    graph.node.extend(copies)
    for name, value in zip(needed, values, strict=True):
        model.put(name, value)
    drop_unused_weights(model)


def _part(
    model: ExternalDataModel, nodes: list[onnx.NodeProto], inputs: dict[str, np.ndarray], outputs: Iterable[str]
) -> ExternalDataModel:
    """Return the model of some nodes of another, with the weights that they use."""
    computed = {name for node in nodes for name in node.output}
    needed = {name for node in nodes for name in node.input if name} - computed - set(inputs)
    # types and sizes of the outputs are left open: ONNX Runtime infers them
    graph = helper.make_graph(
        nodes,
        "part",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [weight for weight in model.proto.graph.initializer if weight.name in needed],
    )
    proto = helper.make_model(graph, opset_imports=model.proto.opset_import, ir_version=model.proto.ir_version)
    return ExternalDataModel(proto, {name: model.weights[name] for name in needed & set(model.weights)})


def _packed_lookups(model: ExternalDataModel) -> list[str]:
    """Return the names of results that `graph.quantize` unpacks of gathered rows: `x` of the nodes x, x.0, x.1, ..."""
    packed = {w.name for w in model.proto.graph.initializer if w.data_type in _BYTES}
    gathers = [node for node in model.proto.graph.node if node.op_type == "Gather" and node.input[0] in packed]
    return sorted({node.output[0].rpartition(".")[0] for node in gathers})


def _unpack_table(model: ExternalDataModel, name: str) -> None:
    """Replace the unpacking of looked-up rows by one lookup in the plain table, which is unpacked here as a whole."""
    graph = model.proto.graph
    group = [node for node in graph.node if node.output[0] == name or node.output[0].startswith(f"{name}.")]
    gathers = [node for node in group if node.op_type == "Gather"]
    weights = {w.name: tuple(w.dims) for w in graph.initializer}
    computed = {output for node in group for output in node.output}
    ids = {i for node in group for i in node.input if i not in computed and i not in weights}
    rows = {weights[node.input[0]][0] for node in gathers}
    if len(ids) != 1 or len(rows) != 1 or not any(node.output[0] == name for node in group):
        raise ValueError(f"{graph.name}: bytes are looked up for '{name}' in an unknown way")
    # The token numbers are the only input of the group that it neither computes nor stores.
    source = ids.pop()
    rank = _rank_of_ids(model, group, name)
    # The graph's reshapes were written for the rank of its token numbers, so the row numbers get the same rank.
    every = np.arange(rows.pop(), dtype=np.int64).reshape(*[1] * (rank - 1), -1)
    part = _part(model, group, {source: every}, [name])
    (table,) = run_model(part, {source: every}, [name])
    nodes = []
    for node in graph.node:
        if node.output[0] == name:
            nodes.append(helper.make_node("Gather", [f"{name}.table", source], [name], name=name, axis=0))
        elif computed.isdisjoint(node.output):
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)
    model.put(f"{name}.table", table.reshape(every.size, -1))
    drop_unused_weights(model)


def _rank_of_ids(model: ExternalDataModel, group: list[onnx.NodeProto], name: str) -> int:
    """Return how many dimensions the looked up numbers have: one less than the final Reshape's target."""
    last = next(node for node in group if node.output[0] == name)
    return model.values()[last.input[1]].size - 1


def drop_unused_weights(model: ExternalDataModel) -> None:
    """Remove the weights that no node uses."""
    used = {name for node in model.proto.graph.node for name in node.input}
    used |= {value.name for value in model.proto.graph.output}
    model.drop({weight.name for weight in model.proto.graph.initializer if weight.name not in used})
