"""Export a frozen PyTorch module as an ONNX model of its spec, with free dimensions and no trace of this machine."""

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from runtime.engines.backends.base import check_inputs
from runtime.engines.dtypes import DTYPES
from runtime.engines.spec import EngineSpec, TensorSpec


def export_onnx(module: nn.Module, spec: EngineSpec, samples: Sequence[Tensor]) -> onnx.ModelProto:
    """Return the ONNX model of a module, its weights inside; arguments and errors as of `trace`."""
    model = trace(module, spec, samples).model_proto
    strip(model)
    pin(model, spec)
    # Last: it is the model as it will be stored that has to be valid.
    onnx.checker.check_model(model)
    return model


def trace(module: nn.Module, spec: EngineSpec, samples: Sequence[Tensor], *, fold: int | None = None) -> Any:
    """Return the exporter's program of a module, whose `model` has the module's own tensors as weights.

    Args:
        module: frozen, in evaluation mode; takes the samples in order.
        spec: names and shapes of its tensors; a dimension that is a string is free in the model.
        samples: one tensor for each input; free dimensions have to be at least 2 here, or the exporter fixes them.
        fold: greatest number of values of a constant that is computed beforehand; None leaves it to the exporter.

    Raises:
        ValueError: the samples do not fit the spec, or the exported model does not.
    """
    sizes = check_inputs(spec, samples)
    # One Dim for each name: the exporter then proves that tensors of one name have one size.
    dimensions = {name: torch.export.Dim(name, min=1, max=spec.ranges[name][2]) for name in sizes}
    shapes = tuple(
        {axis: dimensions[size] for axis, size in enumerate(tensor.shape) if isinstance(size, str)}
        for tensor in spec.inputs
    )
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(samples),
            dynamo=True,
            verbose=False,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes=_nested(module, shapes),
            optimize=fold is None,
        )
        assert program is not None
        if fold is not None:
            # `optimize` has switched the exporter's own optimizer off, which would fold weights of any size.
            _simplify(program.model, fold)
    return program


def _nested(module: nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return one entry for each parameter of a module's forward; `*args` has one entry for all."""
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return shapes
    # torch.export mirrors the signature: what `*args` collects is one nested tuple to it.
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*shapes[:named], shapes[named:])


def strip(model: onnx.ModelProto) -> None:
    """Remove all traces of how and where a model was made: stack traces, documentation, inner tensors' shapes."""
    graph = model.graph
    # The exporter writes paths of source files into these: the same weights would give other bytes on another machine.
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    model.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


def _simplify(model: Any, fold: int) -> None:
    """Optimize a traced graph, but compute nothing beforehand from a weight of more than `fold` values.

    The exporter's own pass transposes every matrix that is used once, whatever its size.
    """
    from onnxscript import optimizer

    def should_fold(node: Any) -> bool | None:
        weights = [value.const_value for value in node.inputs if value is not None and value.const_value is not None]
        # None leaves the decision to the optimizer's own limits.
        return False if any(tensor.size > fold for tensor in weights) else None

    optimizer.optimize_ir(model, input_size_limit=fold, output_size_limit=fold, should_fold=should_fold)


def pin(model: onnx.ModelProto, spec: EngineSpec) -> None:
    """Give a model's inputs and outputs the names and sizes of its spec; a `ValueError` says where they disagree."""
    _pin(model.graph.input, spec.inputs, spec.name)
    _pin(model.graph.output, spec.outputs, spec.name)
    model.graph.name = spec.name


def _pin(values: Sequence[onnx.ValueInfoProto], tensors: Sequence[TensorSpec], name: str) -> None:
    if [value.name for value in values] != [tensor.name for tensor in tensors]:
        raise ValueError(f"{name}: expected {[t.name for t in tensors]} in the model, got {[v.name for v in values]}")
    for value, tensor in zip(values, tensors, strict=True):
        # A free dimension has the value 0 in protobuf, whatever its name; names are replaced by the spec's below.
        sizes = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
        fixed = [None if isinstance(size, str) else size for size in tensor.shape]
        if value.type.tensor_type.elem_type != DTYPES[tensor.dtype].onnx or sizes != fixed:
            raise ValueError(f"{name}: tensor '{tensor.name}': expected {tensor} in the model, got {sizes}")
        value.CopyFrom(helper.make_tensor_value_info(tensor.name, DTYPES[tensor.dtype].onnx, list(tensor.shape)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about itself: deprecations inside PyTorch and packages that it does not need."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
