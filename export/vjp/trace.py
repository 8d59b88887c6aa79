"""One graph of a frozen module's value and vector-Jacobian product, with weights as inputs and a free batch.

Autograd runs once on fake tensors, in which only the first size of the images is a symbol. `make_fx` records forward
and backward as one list of ATen operators. Nothing is computed and no weight is copied.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

aten = torch.ops.aten

_PASSED = (aten.detach.default, aten.alias.default, aten.clone.default, aten.contiguous.default)
"""Operators that change no value; a frozen graph has no use for them."""

_RESHAPES = (aten.expand.default, aten.view.default, aten._unsafe_view.default, aten.reshape.default)


# Custom operators have plain annotations: PyTorch reads their schema off them.
@torch.library.custom_op("tgm::zero_pad", mutates_args=())
def zero_pad(x: Tensor, pads: list[int]) -> Tensor:
    """Return `F.pad(x, pads)`; PyTorch's own operator would fix a free batch while it is traced."""
    return F.pad(x, pads)


@zero_pad.register_fake
def _pad_shape(x: Tensor, pads: list[int]) -> Tensor:
    sizes = list(x.shape)
    for axis, (before, behind) in enumerate(zip(pads[::2], pads[1::2], strict=True), 1):
        sizes[-axis] += before + behind
    return x.new_empty(sizes)


zero_pad.register_autograd(
    # The gradient of a padding is a crop, and a crop is a padding by negative widths: one operator serves both ways.
    lambda ctx, gradient: (zero_pad(gradient, [-pad for pad in ctx.pads]), None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "pads", inputs[1]),
)


@torch.library.custom_op("tgm::product", mutates_args=())
def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b as one operator that copies neither; b is a matrix or a batch of them."""
    return a @ b


@product.register_fake
def _product_shape(a: Tensor, b: Tensor) -> Tensor:
    # Sizes only, so a batch that is a symbol stays one. No backward is registered: products are put in after autograd.
    return a.new_empty((*a.shape[:-1], b.shape[-1]))


class _SymbolicPads(TorchFunctionMode):
    """Makes `F.pad` with zeros call `zero_pad`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
        # Other modes and other fill values have another backward; they pass through and meet the rules as they are.
        if func is F.pad and given.get("mode", "constant") == "constant" and not given.get("value"):
            return zero_pad(given["input"], list(given["pad"]))
        return func(*args, **kwargs)


@dataclass(frozen=True)
class Traced:
    """A graph (x, cotangent, *weights) -> (y, gradient by x)."""

    graph: fx.GraphModule
    """ATen operators and, in place of some of them, the functions below."""
    weights: tuple[str, ...]
    """Names of the weights, as the module's state has them, in the order of the inputs."""


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], pads: list[int]) -> Tensor:
    """Return a convolution with its own number of zeros at each edge; `pads` are left, right, top, bottom."""
    # ONNX pads each edge by its own width, ATen only symmetrically: hence the padding apart from the convolution.
    return aten.convolution(aten.constant_pad_nd(x, pads), weight, bias, stride, [0, 0], [1, 1], False, [0, 0], 1)


def convolution_gradient(
    gradient: Tensor, weight: Tensor, size: list[int], stride: list[int], pads: list[int]
) -> Tensor:
    """Return the gradient of `convolution` by its input.

    Args:
        gradient: by the output of the convolution.
        weight: the kernel, output channels first.
        size: H and W of the input.
        stride: by rows and columns.
        pads: left, right, top, bottom.
    """
    padded = [size[0] + pads[2] + pads[3], size[1] + pads[0] + pads[1]]
    # ATen reads only the sizes of this input, since the gradient by an input does not depend on its values.
    like = gradient.new_empty((gradient.shape[0], weight.shape[1], *padded))
    full = aten.convolution_backward(
        gradient, like, weight, None, stride, [0, 0], [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    # The gradient at padded zeros belongs to no input.
    return aten.constant_pad_nd(full, [-pad for pad in pads])


def trace_vjp(module: nn.Module, shape: Sequence[int]) -> Traced:
    """Return the graph of a module's value and input gradient.

    Args:
        module: frozen, in evaluation mode; one tensor in, one tensor out, both with the batch first.
        shape: of an input; the graph keeps all sizes but the first, which is free.
    """
    # Buffers too: a tensor that is no input of the recording would be baked into the graph as a constant.
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}

    def call(x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        return torch.func.functional_call(module, dict(zip(state, weights, strict=True)), (x,))

    def both(x: Tensor, cotangent: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        # Only the input asks for a gradient: autograd then records no products for the weights' gradients.
        x = x.detach().requires_grad_()
        y = call(x, weights)
        # One call gives both, so that the forward pass is recorded once and its intermediate values are shared.
        return y.detach(), torch.autograd.grad(y, x, cotangent)[0]

    # MATH: the fused attentions are one opaque operator each, whose backward no other runtime has.
    with _faking() as fake, sdpa_kernel(SDPBackend.MATH), _SymbolicPads():
        image, weights = fake(shape, free=True), [fake(weight.shape, free=False) for weight in state.values()]
        # 'real', because the inputs are fakes already and are to be recorded with the one symbol that they have.
        graph = make_fx(both, tracing_mode="real")(image, torch.empty_like(call(image, tuple(weights))), *weights)
    _normalize(graph)
    return Traced(graph, tuple(state))


def trace_again(run: Callable[..., Any], traced: Traced) -> fx.GraphModule:
    """Return a new recording of a function of a graph's inputs."""
    # Fakes of a new mode: those of the first recording carry symbols of a shape environment that has ended.
    values = [node.meta["val"] for node in traced.graph.graph.nodes if node.op == "placeholder"]
    # Inputs with a free batch come first: the network's own and its cotangent. All weights follow.
    free = len(values) - len(traced.weights)
    # The backward is already in the graph as plain operators; recording it with autograd would differentiate it again.
    with _faking() as fake, torch.no_grad():
        first = fake(values[0].shape, free=True)
        # The cotangent shares the picture's symbol; a symbol of its own would leave two batches that no operator may
        # join.
        others = [torch.empty((first.shape[0], *value.shape[1:])) for value in values[1:free]]
        weights = [fake(value.shape, free=False) for value in values[free:]]
        graph = make_fx(run, tracing_mode="real")(first, *others, *weights)
    graph.graph.eliminate_dead_code()
    return graph


@contextmanager
def _faking() -> Iterator[Callable[..., Tensor]]:
    """Yield a function that makes fake tensors, whose first size may be free."""
    # A mode of its own for each recording: symbols of one shape environment mean nothing in another.
    mode = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=False)

    def fake(sizes: Sequence[int | torch.SymInt], *, free: bool) -> Tensor:
        if not free:
            with mode:
                return torch.empty(tuple(sizes))
        kinds = [DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * (len(sizes) - 1)]
        context = StatelessSymbolicContext(dynamic_sizes=kinds)
        # A symbol is made from a real tensor only. Its batch is 2, as sizes of 0 and 1 are taken for constants.
        with unset_fake_temporarily():
            example = torch.empty(2, *sizes[1:])
        return mode.from_tensor(example, symbolic_context=context, source=ConstantSource("x"))

    with mode:
        yield fake


def _normalize(module: fx.GraphModule) -> None:
    """Rewrite the recorded operators in the few forms that have rules."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.target in _PASSED:
            node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    # The backward first: it looks for the padding in front of a convolution, which the forward's rewriting removes.
    # Dead nodes go after each rewriting, so that the next one sees only the users that count.
    for rewrite in (_take_pads_back, _take_pads, _plain_products):
        for node in list(graph.nodes):
            rewrite(graph, node)
        graph.eliminate_dead_code()
    graph.lint()
    module.recompile()


def _plain(node: fx.Node, place: int) -> bool:
    """Return whether a convolution (whose stride stands at `place`) is neither grouped, dilated nor transposed."""
    # convolution(x, weight, bias, *geometry); convolution_backward(gradient, x, weight, bias sizes, *geometry, mask),
    # where geometry is stride, padding, dilation, transposed, output padding, groups
    _, _, dilation, transposed, _, groups = node.args[place : place + 6]  # pyright: ignore
    weight = node.args[2 if place == 4 else 1]
    flat = len(weight.meta["val"].shape) == 4 if isinstance(weight, fx.Node) else False  # pyright: ignore
    # Grouped, dilated and transposed convolutions keep ATen's operators; `rules.convolution_backward` covers them.
    return flat and all(d == 1 for d in dilation) and not transposed and groups == 1  # pyright: ignore


def _sides(padding: Any) -> list[int]:
    """Return the padding of rows and columns as left, right, top, bottom."""
    return [padding[1], padding[1], padding[0], padding[0]]


def _take_pads_back(graph: fx.Graph, node: fx.Node) -> None:
    """Replace a plain convolution's backward, and the crop that undoes its padding, by `convolution_gradient`."""
    if node.target is not aten.convolution_backward.default or not _plain(node, 4):
        return
    gradient, source, weight, _, stride, padding = node.args[:6]
    assert isinstance(source, fx.Node)
    pads, padded = _sides(padding), _is_pad(source)
    # Backward returns a tuple; getitem 0 is the gradient by the input, and all that a frozen network asks for.
    results = [user for user in node.users if user.args[1] == 0]
    crops = [user for result in results for user in result.users]
    # The padding can go only where everyone who reads the gradient cuts it off again.
    if padded and not all(_is_pad(user) and _opposite(user, source) for user in crops):
        padded = False
    if padded:
        pads = [a + b for a, b in zip(pads, source.args[1], strict=True)]  # pyright: ignore
        source = source.args[0]
    size = list(source.meta["val"].shape[2:])  # pyright: ignore
    with graph.inserting_before(node):
        new = graph.call_function(convolution_gradient, (gradient, weight, size, list(stride), pads))  # pyright: ignore
    # The gradient has the input's shape; the recorder never saw our function, and later rewritings read the shape here.
    new.meta["val"] = source.meta["val"]  # pyright: ignore
    for user in crops if padded else results:
        user.replace_all_uses_with(new)


def _take_pads(graph: fx.Graph, node: fx.Node) -> None:
    """Replace a plain convolution, and the zero padding in front of it, by `convolution`."""
    if node.target is not aten.convolution.default or not _plain(node, 3):
        return
    source, weight, bias, stride, padding = node.args[:5]
    pads = _sides(padding)
    if isinstance(source, fx.Node) and _is_pad(source):
        pads = [a + b for a, b in zip(pads, source.args[1], strict=True)]  # pyright: ignore
        source = source.args[0]
    with graph.inserting_before(node):
        new = graph.call_function(convolution, (source, weight, bias, list(stride), pads))  # pyright: ignore
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)


def _is_pad(node: fx.Node) -> bool:
    return node.target is torch.ops.tgm.zero_pad.default and len(node.args[1]) == 4  # pyright: ignore


def _opposite(crop: fx.Node, pad: fx.Node) -> bool:
    return all(a == -b for a, b in zip(crop.args[1], pad.args[1], strict=True))  # pyright: ignore


def _plain_products(graph: fx.Graph, node: fx.Node) -> None:
    """Replace a batched product by a plain one where autograd has copied one matrix for each example."""
    if node.target is not aten.bmm.default:
        return
    matrix: Any = node.args[1]
    turned = False
    # Walk back over the views by which autograd has broadcast the matrix; each transposition turns it once more.
    while len(matrix.meta["val"].shape) == 3 and matrix.target in (*_RESHAPES, aten.transpose.int):
        # Autograd keeps the broadcast axis first, so a transposition swaps the two axes of the matrix itself.
        turned ^= matrix.target is aten.transpose.int
        matrix = matrix.args[0]
    # A product of two batches, as in attention, has no single matrix behind it and stays.
    if len(matrix.meta["val"].shape) != 2:
        return
    with graph.inserting_before(node):
        matrix = graph.call_function(aten.t.default, (matrix,)) if turned else matrix
        new = graph.call_function(torch.ops.tgm.product.default, (node.args[0], matrix))
    new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)
