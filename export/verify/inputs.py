"""What a bundle's networks are compared with: the reference of each, and inputs as the networks see them in use.

Where the weights that a bundle was made of can be had, the reference is PyTorch in float32. Else, as after a fresh
clone, it is the bundle's own stored weights: `onnx.reference` evaluates them operator by operator in NumPy, the PyTorch
twin gives gradients in float64. Then the table shows whether this machine's engines compute what the file says; the
error of storing the weights in few bits is unseen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from export.cut import Cut
from export.verify.gates import GATES, Gate
from runtime.engines.backends.eager import EagerEngine
from runtime.engines.bundle import Bundle, DiffusionBundle
from runtime.engines.protocols import BindableEngine, Engine
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError
from runtime.guidance.sampler import sample_latents
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import Prompt

PROMPTS = ("a red apple", "a cat", "a fire truck", "a green tree")
"""Texts that a bundle without a reference is verified with."""

STEPS = 12
"""Calls of the denoiser for each picture that such a bundle is verified on."""

ROWS = 8
"""Examples of each input of such a bundle."""

MOST = 256
"""Rows of a batch at most, whatever memory there is: more of the same kernels' work shows nothing new."""

Value = Callable[..., tuple[Tensor, ...]]
"""Inputs in the spec's order -> outputs in the spec's order."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What one network is compared with, and on what."""

    spec: EngineSpec
    """Names and shapes of its tensors, and the range of its batch."""
    samples: tuple[Tensor, ...]
    """Inputs of the distribution that it sees in use, as many rows as there are."""
    value: Value
    """The reference itself."""
    module: nn.Module | None
    """The same as a PyTorch module, where gradients and whole scenes can be had of it."""
    gate: Gate
    """What an engine's outputs have to reach."""
    gradient_gate: Gate
    """What an engine's vector-Jacobian products have to reach."""
    precision: str
    """How the bundle stores the network's weights, or what it computes in."""
    most: int
    """Rows that it is compared on at most, where the spec allows more: memory, or time, takes no more."""


def reference_of(cut: Cut, spec: EngineSpec, precision: str, memory: float) -> Reference:
    """Return the reference of a network whose PyTorch module is at hand.

    Args:
        cut: the float32 module, with samples.
        spec: what the bundle says of the network.
        precision: a key of `GATES`.
        memory: GiB that the activations of a batch may take, those of a backward pass included.
    """
    one = activation_bytes(cut.module, take_rows(spec, cut.samples, torch.arange(1)))
    return Reference(
        spec=spec,
        samples=cut.samples,
        value=_outputs_of(cut.module),
        module=cut.module,
        gate=GATES[precision],
        gradient_gate=GATES["gradient"],
        precision=precision,
        most=max(1, min(MOST, int(memory * 2**30) // (3 * one))),
    )


def _outputs_of(module: nn.Module) -> Value:
    def value(*inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs = module(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return value


def activation_bytes(module: nn.Module, samples: tuple[Tensor, ...]) -> int:
    """Return the bytes of a module's inputs and of all outputs of its innermost parts in one call, at least 1."""
    total = 1 + sum(sample.nbytes for sample in samples)

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        parts = output if isinstance(output, tuple) else (output,)
        total += sum(part.nbytes for part in parts if isinstance(part, Tensor))

    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    handles = [part.register_forward_hook(count) for part in leaves]
    try:
        with torch.no_grad():
            module(*samples)
    finally:
        for handle in handles:
            handle.remove()
    return total


def rows_of(spec: EngineSpec, samples: Sequence[Tensor]) -> int:
    """Return how many rows samples have along the free first dimension `B`; 1 where no input has it."""
    return min((len(s) for wanted, s in zip(spec.inputs, samples, strict=True) if is_batched(wanted.shape)), default=1)


def take_rows(spec: EngineSpec, samples: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, ...]:
    """Return rows of samples along `B`, by index and counted around; other inputs as they are."""
    rows = rows % rows_of(spec, samples)
    return tuple(
        sample[rows].contiguous() if is_batched(wanted.shape) else sample
        for wanted, sample in zip(spec.inputs, samples, strict=True)
    )


def is_batched(shape: tuple[int | str, ...]) -> bool:
    """Return whether the first dimension is the free batch `B`."""
    return bool(shape) and shape[0] == "B"


def sizes_of(reference: Reference) -> tuple[tuple[int, ...], str]:
    """Return the sizes of batches to compare at, and a remark where the greatest is not the spec's."""
    if "B" not in reference.spec.ranges:
        return (1,), ""
    least, typical, greatest = reference.spec.ranges["B"]
    most = min(greatest, max(typical, reference.most))
    return tuple(sorted({least, typical, most})), "" if most == greatest else f"{most} rows of {greatest}"


def is_large(reference: Reference) -> bool:
    """Return whether memory takes no more rows than the typical batch has: a row is then much work, too."""
    return "B" in reference.spec.ranges and reference.most <= reference.spec.ranges["B"][1]


def batches_of(reference: Reference) -> list[Tensor]:
    """Return the rows of each batch to compare, (size,) int64.

    Every row comes at every size: figures then do not hang on which. Of a large network the sizes take turns, and every
    row comes once.
    """
    sizes, count = sizes_of(reference)[0], rows_of(reference.spec, reference.samples)
    if not is_large(reference):
        starts = [(first, size) for size in sizes for first in range(0, count, size)]
    else:
        starts, first = [], 0
        for size in cycle(sizes):
            starts.append((first, size))
            if (first := first + size) >= count and len(starts) >= len(sizes):
                break
    return [torch.arange(first, first + size) % count for first, size in starts]


def precision_of(bundle: Bundle, role: str) -> str:
    """Return in what a network's products are computed, or else how its weights are stored: a key of `GATES`."""
    import onnx

    graph = onnx.load_from_string(bundle.read_file(role, "model.onnx")).graph
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    multiplied = [kinds.get(name) for node in graph.node if node.op_type in _PRODUCTS for name in node.input]
    for kind, name in ((onnx.TensorProto.FLOAT16, "fp16"), (onnx.TensorProto.BFLOAT16, "bf16")):
        if kind in multiplied:
            return name
    stored = set(kinds.values())
    if stored & {onnx.TensorProto.INT8, onnx.TensorProto.INT4}:
        return "int8"
    return "float16" if onnx.TensorProto.FLOAT16 in stored and onnx.TensorProto.UINT8 not in stored else "float32"


_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum")


class CutReferences(Mapping[str, Reference]):
    """References whose PyTorch modules are at hand, each made when it is asked for: one may fill the memory."""

    def __init__(self, bundle: Bundle, cuts: Mapping[str, Cut], memory: float) -> None:
        """Remember the modules; arguments as of `reference_of`."""
        self.bundle, self.cuts, self.memory = bundle, cuts, memory

    def __getitem__(self, role: str) -> Reference:
        """Return a network's reference."""
        precision = precision_of(self.bundle, role)
        return reference_of(self.cuts[role], self.bundle.specs[role], precision, self.memory)

    def __iter__(self) -> Iterator[str]:
        """Return the roles, in the bundle's order."""
        return (role for role in self.bundle.specs if role in self.cuts)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(list(iter(self)))


class StoredReferences(Mapping[str, Reference]):
    """References that are made of a latent diffusion bundle's own files, each when it is asked for."""

    def __init__(self, bundle: Bundle) -> None:
        """Record what the networks get in use: prompts, sampling, latents noised to all times.

        Raises:
            UserError: a bundle for another method, which has to be compared with the weights that it was made of.
        """
        if not isinstance(bundle, DiffusionBundle):
            raise UserError(
                f"bundle {bundle.name!r}: expected the weights that it was made of; name them with --weights"
            )
        self.bundle, self.samples = bundle, samples_of(bundle)

    def __getitem__(self, role: str) -> Reference:
        """Return a network's reference."""
        files = self.bundle.specs[role].files
        twin = self.bundle.eager_engine(role) if {"config.json", "weights.safetensors"} <= set(files) else None
        module = InDouble(twin.module) if isinstance(twin, EagerEngine) else None
        precision = precision_of(self.bundle, role)
        return Reference(
            spec=self.bundle.specs[role],
            samples=self.samples[role],
            value=_evaluator(self.bundle, role),
            module=module,
            gate=GATES["twin" if precision in ("float32", "float16", "int8") else precision],
            gradient_gate=GATES["twin_gradient"],
            precision=precision,
            most=ROWS,
        )

    def __iter__(self) -> Iterator[str]:
        """Return the roles, in the bundle's order."""
        return (role for role in self.bundle.specs if role in self.samples)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(list(iter(self)))


class InDouble(nn.Module):
    """A module that computes in float64, and takes and gives float32: a reference for its own gradient."""

    def __init__(self, module: nn.Module) -> None:
        """Wrap a module, which changes it."""
        super().__init__()
        self.module = module.double()

    def forward(self, images: Tensor) -> Tensor:
        """Return the module's output, in float32."""
        return self.module(images.double()).float()


def _evaluator(bundle: DiffusionBundle, role: str) -> Value:
    """Return a network as NumPy evaluates it, operator by operator."""
    import numpy as np
    import onnx
    from onnx.external_data_helper import load_external_data_for_model
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_from_string(bundle.read_file(role, "model.onnx"))
    load_external_data_for_model(model, str(bundle.folder_of(role)))
    run = ReferenceEvaluator(model)
    names = [tensor.name for tensor in bundle.specs[role].inputs]

    def value(*inputs: Tensor) -> tuple[Tensor, ...]:
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(np.array(output)) for output in run.run(None, feed))  # pyright: ignore

    return value


class _Listener:
    """An engine that keeps the inputs of every call."""

    def __init__(self, engine: BindableEngine) -> None:
        self.engine, self.spec, self.device = engine, engine.spec, engine.device
        self.calls: list[tuple[Tensor, ...]] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        self.calls.append(tuple(tensor.detach().clone() for tensor in inputs))
        return self.engine(*inputs)

    def bind(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Callable[[], None]:
        return self.engine.bind(inputs, outputs)

    def recorded(self) -> tuple[Tensor, ...]:
        """Return `ROWS` rows of all inputs together."""
        together = tuple(torch.cat(parts) for parts in zip(*self.calls, strict=True))
        return take_rows(self.spec, together, torch.arange(min(ROWS, rows_of(self.spec, together))))


class _Listened(DiffusionBundle):
    """A bundle whose engines keep their inputs."""

    def engine(self, role: str, *, threads: int | None = None) -> BindableEngine:
        """Return the engine with ears."""
        listeners = self.__dict__.setdefault("listeners", {})
        if role not in listeners:
            listeners[role] = _Listener(super().engine(role, threads=threads))
        return listeners[role]


def samples_of(bundle: DiffusionBundle) -> dict[str, tuple[Tensor, ...]]:
    """Return inputs of each network as it gets them in use, `ROWS` rows.

    Prompts are encoded, pictures of them are sampled, decoded, scored and encoded, and their latents are noised to
    times over the whole schedule: so the inputs are those of any family, in its own shapes.
    """
    listened = _Listened(bundle.folder, device=bundle.device, threads=bundle.threads)
    generator = torch.Generator().manual_seed(0)
    encoder, denoise, schedule = listened.text_encoder(), listened.denoiser(), Schedule.of(listened.schedule)
    listeners: dict[str, _Listener] = listened.__dict__["listeners"]
    latents, contexts = [], []
    for text in PROMPTS:
        prompt = Prompt.encode(text, encoder)
        shape = (1, *listened.latent_shape)
        latents.append(sample_latents(denoise, schedule, prompt, shape, generator, omega=3.0, steps=STEPS))
        contexts.append(prompt.context)
    listeners["denoiser"].calls.clear()
    times = torch.linspace(0, len(schedule) - 1, ROWS).long()
    for row, t in enumerate(times):
        z = latents[row % len(latents)]
        noised = schedule.diffuse(z, torch.randn(z.shape, generator=generator), t[None])
        denoise(noised, t[None], contexts[row % len(contexts)])
    images = listened.latent_decoder()(torch.cat(latents))
    listened.latent_encoder(gradients="none")(images)
    if {"image_embedder", "text_embedder"} <= set(listened.specs):
        listened.scorer()(images, PROMPTS)
    return {role: listener.recorded() for role, listener in listeners.items()}


def as_engine(reference: Reference, device: str = "cpu") -> Engine:
    """Return the reference as an engine; one with a module passes gradients."""
    if reference.module is not None:
        return EagerEngine(reference.spec, reference.module, device=device)
    return _Function(reference)


class _Function:
    def __init__(self, reference: Reference) -> None:
        self.spec, self._value = reference.spec, reference.value

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self._value(*(tensor.detach() for tensor in inputs))
