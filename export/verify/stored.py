"""References that are made of a bundle's own stored weights, where what it was made of is not at hand.

`onnx.reference` evaluates the models operator by operator in NumPy, and the PyTorch module gives gradients in float64.
Then the table shows whether this machine's engines compute what the file says; the error of storing the weights in few
bits is unseen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from export.graph.external_weights import take_weights_in
from export.verify.gates import GATES, Check
from export.verify.inputs import Reference, Value, count_rows, precision_of, take_rows
from runtime.engines.backends.eager import EagerEngine
from runtime.engines.bundle import Bundle, DdpmBundle, DiffusionBundle
from runtime.engines.precision import Storage
from runtime.engines.protocols import BindableEngine
from runtime.engines.spec import WEIGHTS
from runtime.errors import UserError
from runtime.guidance.sampler import dpm_solver, sample_latents
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import Prompt
from runtime.guidance.solvers import noise_predictor

PROMPTS = ("a red apple", "a cat", "a fire truck", "a green tree")
"""Texts that a bundle without a reference is verified with."""

STEPS = 12
"""Calls of the denoiser for each picture that such a bundle is verified on."""

ROWS = 8
"""Examples of each input of such a bundle."""


class BundleReferences(Mapping[str, Reference]):
    """References that are made of a diffusion bundle's own files, each when it is asked for."""

    def __init__(self, bundle: Bundle) -> None:
        """Record what the networks get in use: prompts, sampling, latents noised to all times.

        Raises:
            UserError: a bundle for another method, which has to be compared with the weights that it was made of.
        """
        if isinstance(bundle, DdpmBundle):
            self.bundle, self.samples = bundle, {"denoiser": pixel_samples(bundle)}
            return
        if not isinstance(bundle, DiffusionBundle):
            raise UserError(
                f"bundle {bundle.name!r}: expected the weights that it was made of; name them with --weights"
            )
        self.bundle, self.samples = bundle, samples_of(bundle)

    def __getitem__(self, role: str) -> Reference:
        """Return a network's reference."""
        files = self.bundle.specs[role].files
        eager = None
        if isinstance(self.bundle, DiffusionBundle) and {"config.json", WEIGHTS} <= set(files):
            eager = self.bundle.eager_engine(role)
        # float64: the gradient in float32 would carry rounding of the size of what is looked for.
        module = InDouble(eager.module) if isinstance(eager, EagerEngine) else None
        precision = precision_of(self.bundle, role)
        # Both sides have the rounded weights, so that a tight gate holds; half-precision products still differ.
        gate = Check.SAME_WEIGHTS if isinstance(precision, Storage) else precision
        return Reference(
            spec=self.bundle.specs[role],
            samples=self.samples[role],
            value=_evaluator(self.bundle, role),
            module=module,
            gate=GATES[gate],
            gradient_gate=GATES[Check.SAME_WEIGHTS_GRADIENT],
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

    def forward(self, images: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """Return the module's output, in float32."""
        return self.module(images.double()).float()


def _evaluator(bundle: Bundle, role: str) -> Value:
    """Return a network as NumPy evaluates it, operator by operator."""
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_from_string(bundle.read_file(role, "model.onnx"))
    take_weights_in(model, bundle.external_weights(role))
    run = ReferenceEvaluator(model)
    names = [tensor.name for tensor in bundle.specs[role].inputs]

    def value(*inputs: Tensor) -> tuple[Tensor, ...]:
        # By operators in NumPy: no backend's kernels or fusions take part in the reference.
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(np.array(output)) for output in run.run(None, feed))  # pyright: ignore

    return value


class _Listener:
    """An engine that keeps the inputs of every call."""

    def __init__(self, engine: BindableEngine) -> None:
        self.engine, self.spec, self.device = engine, engine.spec, engine.device
        self.calls: list[tuple[Tensor, ...]] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        # Cloned, as a caller may reuse its buffers for the next call.
        self.calls.append(tuple(tensor.detach().clone() for tensor in inputs))
        return self.engine(*inputs)

    def bind(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Callable[[], None]:
        return self.engine.bind(inputs, outputs)

    def recorded(self) -> tuple[Tensor, ...]:
        """Return `ROWS` rows of all inputs together."""
        together = tuple(torch.cat(parts) for parts in zip(*self.calls, strict=True))
        return take_rows(self.spec, together, torch.arange(min(ROWS, count_rows(self.spec, together))))


class _Listened(DiffusionBundle):
    """A bundle whose engines keep their inputs."""

    def __init__(self, bundle: DiffusionBundle) -> None:
        # Samples come from the bundle's own engines on this machine: only their distribution matters, not their digits.
        super().__init__(bundle.folder, device=bundle.device, threads=bundle.threads)
        self.listeners: dict[str, _Listener] = {}

    def engine(self, role: str, *, threads: int | None = None) -> BindableEngine:
        """Return the engine of a role, which keeps what it is called with."""
        if role not in self.listeners:
            self.listeners[role] = _Listener(super().engine(role, threads=threads))
        return self.listeners[role]


def samples_of(bundle: DiffusionBundle) -> dict[str, tuple[Tensor, ...]]:
    """Return inputs of each network as it gets them in use, `ROWS` rows.

    Prompts are encoded, pictures of them are sampled, decoded, scored and encoded, and their latents are noised to
    times over the whole schedule: so the inputs are those of any family, in its own shapes.
    """
    listened = _Listened(bundle)
    generator = torch.Generator().manual_seed(0)
    encoder, denoise, schedule = listened.text_encoder(), listened.denoiser(), Schedule.of(listened.schedule)
    latents, contexts = [], []
    for text in PROMPTS:
        prompt = Prompt.encode(text, encoder)
        shape = (1, *listened.latent_shape)
        latents.append(sample_latents(denoise, schedule, prompt, shape, generator, omega=3.0, steps=STEPS))
        contexts.append(prompt.context)
    listened.listeners["denoiser"].calls.clear()  # sampling's own latents lack most times of the schedule
    times = torch.linspace(0, len(schedule) - 1, ROWS).long()
    for row, t in enumerate(times):
        z = latents[row % len(latents)]
        noised = schedule.diffuse(z, torch.randn(z.shape, generator=generator), t[None])
        denoise(noised, t[None], contexts[row % len(contexts)])
    images = listened.latent_decoder()(torch.cat(latents))
    listened.latent_encoder(gradients="none")(images)
    if {"image_embedder", "text_embedder"} <= set(listened.specs):
        listened.scorer()(images, PROMPTS)
    return {role: listener.recorded() for role, listener in listened.listeners.items()}


def pixel_samples(bundle: DdpmBundle) -> tuple[Tensor, Tensor]:
    """Return inputs of a pixel denoiser as it gets them in use: its own samples, noised to times over the schedule."""
    schedule, generator = Schedule.of(bundle.schedule), torch.Generator().manual_seed(0)
    start = torch.randn((ROWS, *bundle.shape), generator=generator).to(bundle.device)
    predict = noise_predictor(bundle.denoiser(), schedule)
    pictures = dpm_solver(predict, start, schedule, STEPS).clamp(-1.0, 1.0).cpu()
    times = torch.linspace(0, len(schedule) - 1, ROWS).long()
    return schedule.diffuse(pictures, torch.randn(pictures.shape, generator=generator), times), times
