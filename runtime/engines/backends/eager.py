"""PyTorch behind an `EngineSpec`: a module from an allow-list, built of config.json and weights.safetensors.

Used where autograd needs the network itself. Nothing is unpickled; a class that is not listed here is refused.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from runtime.engines.backends.base import SpecEngine
from runtime.engines.backends.graphs import GRADIENT, Graph
from runtime.engines.backends.table import Choice
from runtime.engines.spec import WEIGHTS, EngineSpec
from runtime.engines.strict_json import check_fields, parse_object
from runtime.engines.twins.kl_encoder import KLEncoder, KLEncoderConfig, freeze
from runtime.engines.twins.registry import TWINS
from runtime.errors import UserError

SCALE_SUFFIX = ".scale"
"""Weight `w` stored as int8 with the float32 tensor `w.scale` along its first axis means w * scale."""


class EagerEngine(SpecEngine):
    """A frozen PyTorch module with a spec; unlike an ONNX engine it passes gradients."""

    passes_gradients = True

    def __init__(
        self, spec: EngineSpec, module: nn.Module, *, device: str | torch.device = "cpu", compile: bool = False
    ) -> None:
        """Freeze a module.

        Args:
            spec: what it takes and gives.
            module: takes the inputs in order, gives a tensor or a tuple of them.
            device: where its weights go; `auto` is CUDA where there is one.
            compile: whether torch.compile makes it faster: the first call with a shape takes up to minutes.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        super().__init__(spec, torch.device(device))
        # channels-last weights: forward and backward of a 128-pixel encoder took 13.5 ms instead of 23.5
        self.module = freeze(module).to(self._device).to(memory_format=torch.channels_last)  # pyright: ignore
        self._network: Callable[..., Any] = _Compiled(spec, self.module) if compile else self.module

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        # towards a GPU nothing is waited for; what comes back to the CPU is read there, and is
        outputs = self._network(
            *(tensor.to(self._device, non_blocking=self._device.type == "cuda") for tensor in inputs)
        )
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(tensor.to(inputs[0].device) for tensor in outputs)

    def _bind(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Callable[[], None]:
        # nothing waits for the device here, so that a CUDA graph can capture the call
        @torch.no_grad()
        def run() -> None:
            results = self._network(*inputs)
            for buffer, result in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
                buffer.copy_(result)

        return run


class _Compiled:
    """A module that torch.compile compiles on its first call; where that fails, the user gets the remedy."""

    def __init__(self, spec: EngineSpec, module: nn.Module) -> None:
        self._spec, self._compiled = spec, torch.compile(module)

    def __call__(self, *inputs: Tensor) -> Any:
        try:
            return self._compiled(*inputs)
        except _dynamo_error() as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"engine '{self._spec.name}': torch.compile failed: {reason}; it needs a C++ compiler (CPU) or Triton "
                "(GPU); leave --compile out to run without"
            ) from error


def _dynamo_error() -> type[Exception]:
    # imported after an error only, since it takes a second
    from torch._dynamo.exc import TorchDynamoException

    return TorchDynamoException


def load_module(config: bytes, weights: bytes, where: str | Path) -> nn.Module:
    """Return the module that config.json names, with its weights, in float32.

    Args:
        config: text of config.json: `{"class": ..., "arguments": {...}}`.
        weights: content of weights.safetensors: float32 or float16 tensors, or int8 ones with a `.scale`.
        where: folder of the two, for messages.

    Raises:
        UserError: a class that is not on the list, arguments that it does not take, or weights that do not fit it.
    """
    module = empty_module(config, where)
    try:
        # assigned, not copied: parameters on the meta device have no memory to copy to
        module.load_state_dict(expand_weights(weights, where), assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{where}/weights.safetensors does not fit {type(module).__name__}: {reason}") from None
    return module


def empty_module(config: bytes, where: str | Path) -> nn.Module:
    """Return the module that config.json names, its parameters on the meta device; errors as of `load_module`."""
    document = check_fields(parse_object(config, f"{where}/config.json"), f"{where}/config.json", _CONFIG_FIELDS)
    # looked up, never imported: a bundle must not choose code to run
    make = _CLASSES.get(document["class"])
    if make is None:
        raise UserError(
            f"{where}/config.json: field 'class': expected one of {', '.join(_CLASSES)}, got {document['class']!r:.80}"
        )
    try:
        module = make(document["arguments"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}/config.json: field 'arguments': {error}") from None
    return module


def expand_weights(data: bytes, where: str | Path) -> dict[str, Float32[Tensor, "..."]]:
    """Return the float32 weights of a safetensors file, int8 ones times their scales.

    Raises:
        UserError: the content is no safetensors file, or an int8 weight lacks a scale that fits.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        stored = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(
            f"{where}/weights.safetensors: expected a safetensors file, got one that is none: {error}"
        ) from None
    weights = {}
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8:
            scale = stored.get(name + SCALE_SUFFIX)
            if scale is None or not tensor.ndim or scale.shape != tensor.shape[:1]:
                raise UserError(f"{where}/weights.safetensors: {name!r:.80}: expected a scale for each of its rows")
            weights[name] = tensor.float() * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
        # a scale is used up with its weight, and the module would refuse it as an unexpected one
        elif not name.endswith(SCALE_SUFFIX):
            weights[name] = tensor.float()
    return weights


def _make_kl_encoder(arguments: dict) -> nn.Module:
    kinds = {"in_channels": int, "block_out_channels": list}
    optional = {
        "layers_per_block": int,
        "latent_channels": int,
        "norm_num_groups": int,
        "mid_block_add_attention": bool,
        "unshuffle": int,
        "latent_scale": float,
    }
    fields = check_fields(arguments, "KLEncoder", kinds, optional)
    if not all(type(width) is int for width in fields["block_out_channels"]):
        raise ValueError(f"block_out_channels: expected integers, got {fields['block_out_channels']!r:.60}")
    config = KLEncoderConfig(**{**fields, "block_out_channels": tuple(fields["block_out_channels"])})
    with torch.device("meta"):  # sizes without memory: the weights are assigned from the file
        return KLEncoder(config)


_CLASSES = {"KLEncoder": _make_kl_encoder, **TWINS}
_CONFIG_FIELDS = {"class": str, "arguments": dict}


def has_cuda() -> bool:
    """Return whether PyTorch sees a GPU."""
    return torch.cuda.is_available()


def ready(graph: Graph, device: str) -> list[Choice]:
    """Return the one way to run a graph, where the bundle has its PyTorch weights."""
    # PyTorch differentiates the network itself, and cannot run the ONNX graph that does
    return [Choice("torch", device)] if graph.file != GRADIENT and "config.json" in graph.spec.files else []


def missing(graph: Graph, device: str) -> str:
    """Return why ONNX Runtime runs a graph instead."""
    return "the bundle has no PyTorch weights of it"


def make(graph: Graph, choice: Choice, *, threads: int | None = None, compile: bool = False) -> EagerEngine:
    """Return the engine of a graph; arguments and errors as of `table.Driver`."""
    return torch_engine(graph, device=choice.device, compile=compile)


def torch_engine(graph: Graph, *, device: str = "cpu", compile: bool = False) -> EagerEngine:
    """Return the PyTorch engine of a graph, through which gradients pass.

    Args:
        graph: of a network of a verified bundle.
        device: `cpu`, `cuda` or `cuda:N`.
        compile: whether torch.compile makes it faster.

    Raises:
        UserError: the bundle has no PyTorch weights of the network, or they are damaged.
    """
    if graph.file == GRADIENT:
        raise UserError(f"engine '{graph.name}': PyTorch differentiates the network itself; use --gradients torch")
    config = graph.bundle.read_file(graph.role, "config.json")
    weights = graph.bundle.read_file(graph.role, WEIGHTS)
    where = f"bundle {graph.bundle.name!r}: {graph.bundle.folder_of(graph.role).name}"
    return EagerEngine(graph.spec, load_module(config, weights, where), device=device, compile=compile)
