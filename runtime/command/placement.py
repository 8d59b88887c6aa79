"""Where a command runs its networks: device, backend, compilation. How, never what: the methods' Configs say that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from runtime.engines.backends.table import Choice

Backend = Literal["auto", "ort", "tensorrt", "torch"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and by what the networks are run."""

    device: str = "auto"
    """Where networks run: cpu, cuda, cuda:N, or auto: a GPU where there is one."""
    backend: Backend = "auto"
    """What runs them: ort (ONNX Runtime), tensorrt (plans of python -m export build), torch, or auto: the fastest of
    those that python -m export verify passed on this machine. Networks without PyTorch weights run on ort."""
    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Let torch.compile speed up what PyTorch runs; it takes minutes at first."""


DEFAULT_PLACEMENT = Placement()
"""What runs the networks where the user leaves it open."""


def describe_choices(choices: "Mapping[str, Choice]") -> list[str]:
    """Return a line for each backend with the networks that it runs, and why."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, choice in choices.items():
        groups.setdefault((str(choice), choice.device, choice.reason), []).append(name)
    return [
        f"{backend} on {device} runs {', '.join(names) if len(groups) > 1 else 'all networks'}: {reason}"
        for (backend, device, reason), names in groups.items()
    ]
