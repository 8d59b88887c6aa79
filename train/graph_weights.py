"""The weights of an exported graph, float again and in the network that it was exported from.

A graph names only some of its weights after the network's. But it runs the same layers in the same order, so the n-th
convolution of the graph is the n-th that the network runs, and likewise the matrices and the norms.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn


@dataclass
class _Layers:
    """Weight and bias of each layer of a graph, by kind, in the order in which they run."""

    convolutions: list[tuple[np.ndarray, np.ndarray | None]] = field(default_factory=list)
    matrices: list[tuple[np.ndarray, np.ndarray | None]] = field(default_factory=list)
    norms: list[tuple[np.ndarray, np.ndarray | None]] = field(default_factory=list)
    token_norms: list[tuple[np.ndarray, np.ndarray | None]] = field(default_factory=list)


class _Graph:
    """The nodes and constants of an ONNX model."""

    def __init__(self, content: bytes) -> None:
        import onnx

        graph = onnx.load_from_string(content).graph
        self.nodes = list(graph.node)
        self.constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.users = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.users[name].append(node)
            if all(name in self.constants for name in node.input):
                self._fold(node)

    def _fold(self, node) -> None:
        """Compute a node of which all inputs are constant: what makes float weights of codes and steps."""
        values = [self.constants[name] for name in node.input]
        if node.op_type == "Cast":
            self.constants[node.output[0]] = values[0].astype(np.float32)
        elif node.op_type == "Mul":
            self.constants[node.output[0]] = values[0] * values[1]
        elif node.op_type == "Transpose":
            self.constants[node.output[0]] = values[0].transpose(self.attributes(node)["perm"])
        elif node.op_type == "Reshape":
            self.constants[node.output[0]] = values[0].reshape(values[1].tolist())

    @staticmethod
    def attributes(node) -> dict:
        """Return a node's attributes."""
        import onnx

        return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def constant_of(self, node) -> np.ndarray | None:
        """Return the constant input of a node, if it has one."""
        return next((self.constants[name] for name in node.input if name in self.constants), None)

    def _bias(self, node) -> np.ndarray | None:
        return self.constants[node.input[2]] if len(node.input) > 2 else None

    def user(self, node, kind: str):
        """Return the node of a kind that alone takes a node's output, or None."""
        users = self.users[node.output[0]]
        return users[0] if len(users) == 1 and users[0].op_type == kind else None

    def layers(self) -> _Layers:
        """Return the layers in the order of the nodes."""
        layers = _Layers()
        for node in self.nodes:
            weight = self.constants.get(node.input[1]) if len(node.input) > 1 else None
            if node.op_type == "InstanceNormalization":  # then to the former shape, times gamma, plus beta
                scale = self.user(self.user(node, "Reshape"), "Mul")
                gamma, beta = self.constant_of(scale), self.constant_of(self.user(scale, "Add"))
                assert gamma is not None and beta is not None
                layers.norms.append((gamma.reshape(-1), beta.reshape(-1)))
            elif weight is None:
                continue
            elif node.op_type in ("Conv", "LayerNormalization"):
                kind = layers.convolutions if node.op_type == "Conv" else layers.token_norms
                kind.append((weight, self._bias(node)))
            elif node.op_type == "Gemm":
                straight = self.attributes(node).get("transB", 0)
                layers.matrices.append((weight if straight else weight.T, self._bias(node)))
            elif node.op_type == "MatMul":
                added = self.user(node, "Add")
                layers.matrices.append((weight.T, self.constant_of(added) if added else None))
        return layers


def _modules_in_order(network: nn.Module, run: Callable[[], object]) -> dict[type, list[nn.Module]]:
    """Return the convolutions, matrices and norms of a network in the order in which `run` runs them."""
    order: dict[type, list[nn.Module]] = {nn.Conv2d: [], nn.Linear: [], nn.GroupNorm: [], nn.LayerNorm: []}
    hooks = []
    for module in network.modules():
        kind = next((kind for kind in order if isinstance(module, kind)), None)
        if kind is not None:
            hooks.append(module.register_forward_hook(lambda m, _i, _o, kind=kind: order[kind].append(m)))
    run()
    for hook in hooks:
        hook.remove()
    return order


@torch.no_grad()
def fill_from_graph(network: nn.Module, content: bytes, run: Callable[[], object]) -> None:
    """Copy the weights of an exported graph into the network that it was exported from.

    Args:
        network: of the same layers; all its parameters are replaced.
        content: the ONNX model, with weights in float, in float16, or in int8 with steps.
        run: runs every layer of the network once, in the order of the graph.

    Raises:
        ValueError: the graph is of another network.
    """
    order = _modules_in_order(network, run)
    try:
        layers = _Graph(content).layers()
        lists = (layers.convolutions, layers.matrices, layers.norms, layers.token_norms)
        filled = set()
        for modules, weights in zip(order.values(), lists, strict=True):
            for module, (weight, bias) in zip(modules, weights, strict=True):
                filled |= _fill(module, "weight", weight) | _fill(module, "bias", bias)
    except (KeyError, AttributeError, AssertionError) as error:
        raise ValueError(f"{error!s:.100}") from None
    missing = [name for name, weight in network.named_parameters() if id(weight) not in filled]
    if missing:
        raise ValueError(f"nothing for {missing[0]}")


def _fill(module: nn.Module, name: str, value: np.ndarray | None) -> set[int]:
    """Copy a weight into a module; return the identity of its parameter."""
    parameter = getattr(module, name)
    if (parameter is None) != (value is None):
        raise ValueError(f"a {name} of {type(module).__name__} that the other lacks")
    if value is None:
        return set()
    if parameter.shape != value.shape:
        raise ValueError(f"a {name} of shape {value.shape} for {tuple(parameter.shape)}")
    parameter.copy_(torch.from_numpy(value.copy()))
    return {id(parameter)}
