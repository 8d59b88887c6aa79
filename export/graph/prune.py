"""Passes that do not change what an ONNX graph computes: they remove unused nodes and shorten names."""

from collections.abc import Sequence

import onnx


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and initializers that no output depends on."""
    needed = {value.name for value in graph.output}
    used = []
    for node in reversed(graph.node):  # nodes are sorted: whoever reads a value comes after who makes it
        if needed.intersection(node.output):
            used.append(node)
            needed.update(node.input)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(used))
    graph.initializer.extend(weights)


def shorten_names(model: onnx.ModelProto, fixed: Sequence[str]) -> None:
    """Give every value but the fixed ones a name of a few characters, and nodes none: names are a third of the file."""
    graph = model.graph
    # An empty name is an optional input that is left out; it has to stay empty.
    names = {name: name for name in (*fixed, "")}
    for weight in graph.initializer:
        weight.name = names.setdefault(weight.name, f"w{len(names):x}")
    for node in graph.node:
        node.name = ""
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                side[place] = names.setdefault(name, f"v{len(names):x}")
