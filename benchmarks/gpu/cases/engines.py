"""The networks of the bundle `icons` under every backend: errors against ONNX Runtime on the CPU, and times."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.gpu.clock import Row, difference, tensors, time_call
from benchmarks.gpu.run import Setting
from runtime.engines.backends.table import BACKENDS
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError

ROLES = ("denoiser", "latent_encoder", "latent_decoder", "text_encoder", "image_embedder")
"""Networks of the bundle."""


def inputs_of(spec: EngineSpec, batch: int) -> tuple[Tensor, ...]:
    """Return random inputs of a network: small whole numbers where it takes such."""
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for tensor in spec.inputs:
        shape = [int(size) for size in tensor.bound({"B": batch})]
        whole = tensor.dtype.startswith("int")
        drawn = torch.randint(1, 100, shape, generator=generator) if whole else torch.rand(shape, generator=generator)
        inputs.append(drawn.to(getattr(torch, tensor.dtype)))
    return tuple(inputs)


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield a row for each network and backend."""
    reference = DiffusionBundle.load("icons", backend="ort")
    bundles = {}
    for backend in BACKENDS:
        try:
            bundles[backend] = DiffusionBundle.load("icons", device=setting.device, backend=backend)
        except UserError as error:  # a backend that is not there is no failure
            yield {"backend": backend, "way": f"not available: {' '.join(str(error).split())[:300]}"}
        except Exception as error:  # any: the other backends go on
            yield {"backend": backend, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    for role in ROLES[:2] if setting.tiny else ROLES:
        inputs = inputs_of(reference.specs[role], 2)
        expected = tensors(reference.engine(role)(*inputs))
        for backend, bundle in bundles.items():
            row: Row = {"network": role, "backend": backend}
            try:
                choice = bundle.choices()[role]
                row["way"] = f"{choice.backend} on {choice.device}"
                engine, there = bundle.engine(role), tuple(tensor.to(setting.device) for tensor in inputs)
                row |= difference(tensors(engine(*there)), expected)
                row |= time_call(lambda engine=engine, there=there: engine(*there), setting)
            except Exception as error:  # any: a network that a backend cannot run
                row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            yield row
