"""Adam without what PyTorch's own brings along: its first optimizer loads `torch._dynamo`, the compiler."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Optimizer(Protocol):
    """What the loop needs of an optimizer; PyTorch's have it."""

    param_groups: list[dict[str, Any]]
    """Parameters that share a learning rate `lr`."""
    state: Any
    """Of each parameter: its moments and the number of its steps, by name."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        ...

    def step(self) -> Any:
        """Move every parameter that has a gradient."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the groups and, by the parameter's number, the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` has returned."""
        ...


class Adam:
    """Adam (arXiv:1412.6980 Algorithm 1); the same bits as `torch.optim.Adam` on a CPU."""

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        """Make an optimizer.

        Args:
            groups: each has `params`, a list, and its learning rate `lr`.
            betas: decay of the first moment and of the second.
            eps: added to the root of the second moment.
        """
        self.param_groups: list[dict[str, Any]] = [{"betas": betas, "eps": eps, **group} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @property
    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or make them 0."""
        for parameter in self._parameters:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], beta1, beta2, group["eps"])

    def _move(self, parameter: Tensor, lr: float, beta1: float, beta2: float, eps: float) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.tensor(0.0)
            state |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        state["step"] += 1
        count = state["step"].item()
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # In PyTorch's order: another one would round otherwise.
        root = (state["exp_avg_sq"].sqrt() / (1 - beta2**count) ** 0.5).add_(eps)
        parameter.addcdiv_(state["exp_avg"], root, value=-lr / (1 - beta1**count))

    def state_dict(self) -> dict[str, Any]:
        """Return the groups, with numbers for parameters, and the state by these numbers."""
        numbers = {parameter: index for index, parameter in enumerate(self._parameters)}
        groups = [{**group, "params": [numbers[one] for one in group["params"]]} for group in self.param_groups]
        states = {numbers[one]: state for one, state in self.state.items() if state}
        return {"state": states, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take copies of what `state_dict` has returned."""
        parameters = self._parameters
        self.state.clear()
        for index, state in state_dict["state"].items():
            for name, value in state.items():
                # The number of steps stays on the CPU, whatever the parameter is on.
                own = value.clone() if name == "step" else value.to(parameters[index], copy=True)
                self.state[parameters[index]][name] = own
        for group, loaded in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({name: value for name, value in loaded.items() if name != "params"})
