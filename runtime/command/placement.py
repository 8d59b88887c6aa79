"""Where a command runs its networks: device, backend, compilation. How, never what: the methods' Configs say that."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import tyro

from runtime.errors import UserError

if TYPE_CHECKING:
    from runtime.engines.backends.choice import Choice

Backend = Literal["auto", "ort", "tensorrt", "torch"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and by what the networks are run."""

    device: str = "auto"
    """Where networks run: cpu, cuda, cuda:N, or auto: a GPU where there is one."""
    backend: Backend = "auto"
    """What runs them: ort (ONNX Runtime), tensorrt (plans of python -m export build), torch, or auto: of those that
    python -m export verify passed on this machine the fastest. torch leaves to ort what has no PyTorch weights."""
    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Let torch.compile speed up what PyTorch runs; it takes minutes at first."""

    @classmethod
    def from_json(cls, values: object, where: str) -> "Machine":
        """Return the options that `to_json` made the values of.

        Raises:
            UserError: where they are none, naming `where`.
        """
        wrong = UserError(f"{where} has no machine options of this version, but {values!r:.80}: start the run anew")
        if not isinstance(values, dict) or set(values) != {"device", "backend", "compile"}:
            raise wrong
        known = values["backend"] in get_args(Backend)
        if not known or not isinstance(values["device"], str) or not isinstance(values["compile"], bool):
            raise wrong
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return asdict(self)


def describe_choices(choices: "Mapping[str, Choice]") -> list[str]:
    """Return a line for each backend with the networks that it runs, and why."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, choice in choices.items():
        groups.setdefault((str(choice), choice.device, choice.reason), []).append(name)
    return [
        f"{what} on {device} runs {', '.join(names) if len(groups) > 1 else 'all networks'}: {reason}"
        for (what, device, reason), names in groups.items()
    ]
