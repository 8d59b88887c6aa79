"""A recorded graph of value and gradient in two: forward, which gives what the other needs, and backward."""

from typing import NamedTuple

import torch
from torch import fx

from export.vjp.trace import aten

_AGAIN = (aten.view.default, aten._unsafe_view.default, aten.unsqueeze.default, aten.expand.default)
"""Operators that are done again rather than that their result is saved."""


class Halves(NamedTuple):
    """The two graphs."""

    forward: fx.GraphModule
    """(x, *weights) -> (y, *saved)."""
    backward: fx.GraphModule
    """(cotangent, *saved, *weights) -> (gradient,)."""
    saved: tuple[tuple[int | str, ...], ...]
    """Shapes of what is saved; the size that is a string is the batch."""


def split(module: fx.GraphModule) -> Halves:
    """Return the halves of a graph (x, cotangent, *weights) -> (y, gradient).

    What hangs on the weights alone, such as a transformed kernel, is in both: a runtime computes it once, at load.
    """
    nodes = list(module.graph.nodes)
    x, cotangent, *weights = [node for node in nodes if node.op == "placeholder"]
    y, gradient = nodes[-1].args[0]  # pyright: ignore
    back, of_x = _reached(nodes, {cotangent}), _reached(nodes, {x})
    pending = [arg for node in nodes if node in back for arg in node.all_input_nodes]
    saved: list[fx.Node] = []
    for node in pending:  # which grows
        if node not in of_x or node in back or not _is_value(node):
            continue
        if node.target in _AGAIN or not _can_be_saved(node, x):
            pending += node.all_input_nodes
        elif node not in saved:
            saved.append(node)
    forward = _part(module, [x, *weights], [y, *saved])
    backward = _part(module, [cotangent, *saved, *weights], [gradient])
    shapes = [tuple(s if isinstance(s, int) else "B" for s in node.meta["val"].shape) for node in saved]
    return Halves(forward, backward, tuple(shapes))


def _reached(nodes: list[fx.Node], first: set[fx.Node]) -> set[fx.Node]:
    reached = set(first)
    for node in nodes:
        if node.op == "call_function" and any(arg in reached for arg in node.all_input_nodes):
            reached.add(node)
    return reached


def _can_be_saved(node: fx.Node, x: fx.Node) -> bool:
    """Return whether a value is of float32 and has the batch as its first size and nowhere else."""
    value = node.meta["val"]
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float32 or not value.ndim:
        return False
    first, *others = value.shape
    return str(first) == str(x.meta["val"].shape[0]) and all(isinstance(size, int) for size in others)


def _is_value(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor | tuple | list)


def _part(module: fx.GraphModule, inputs: list[fx.Node], outputs: list[fx.Node]) -> fx.GraphModule:
    """Return the graph of the operators between inputs and outputs."""
    graph, copies = fx.Graph(), {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    needed: set[fx.Node] = set()
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node not in needed and node not in copies:
            needed.add(node)
            pending += [arg for arg in node.all_input_nodes if _is_value(arg)]
    for node in module.graph.nodes:
        if node in needed and node.op == "call_function":
            # a size that hangs on the batch is said by the value's shape
            copies[node] = graph.node_copy(node, lambda n: copies[n] if _is_value(n) else -1)
    graph.output(tuple(copies[node] for node in outputs)).meta = {}
    return fx.GraphModule(torch.nn.Module(), graph)
