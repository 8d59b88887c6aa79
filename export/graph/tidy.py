"""Passes over an ONNX graph that change nothing of what it computes: fused products, merged constants, short names."""

from collections.abc import Sequence

import onnx
from onnx import helper

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""


def fuse_transposed(model: onnx.ModelProto) -> None:
    """Let products read stacks of constant matrices as they lie; transposed ones would be folded to a second copy."""
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    constant = _constants(graph)
    fused = False
    for node in graph.node:
        turn = made.get(node.input[1]) if node.op_type == "MatMul" else None
        if turn is None or turn.op_type != "Transpose" or turn.input[0] not in constant:
            continue
        axes = list(helper.get_node_attr_value(turn, "perm"))
        if len(axes) == 3 and axes == [0, 2, 1]:
            node.op_type, node.domain, node.input[1] = "FusedMatMul", MICROSOFT, turn.input[0]
            node.attribute.append(helper.make_attribute("transB", 1))
            fused = True
    if fused and not any(opset.domain == MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    drop_unused(graph)


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Return the names of what hangs on initializers alone."""
    constant = {weight.name for weight in graph.initializer}
    for node in graph.node:
        if all(not name or name in constant for name in node.input):
            constant.update(node.output)
    return constant


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers on which no output hangs."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def shorten_names(model: onnx.ModelProto, kept: Sequence[str]) -> None:
    """Give every inner value a name of a few characters, and nodes none: a third of a small graph is names."""
    graph = model.graph
    names = {name: name for name in (*kept, "")}
    for weight in graph.initializer:
        weight.name = names.setdefault(weight.name, f"w{len(names):x}")
    for node in graph.node:
        node.name = ""
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                side[place] = names.setdefault(name, f"v{len(names):x}")
