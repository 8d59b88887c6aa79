"""The discrete noise schedule of a diffusion model.

Notation: t is an integer in [0, T). A clean x and a standard normal eps make z_t = alpha_t x + sigma_t eps, with
alpha_t^2 + sigma_t^2 = 1 and alpha_t^2 = prod_{s <= t} (1 - beta_s). A network predicts eps, or x ("sample"), or the
velocity v = alpha_t eps - sigma_t x (arXiv:2202.00512 Appendix D). All formulas here are in eps:

    eps = alpha_t v + sigma_t z_t = (z_t - alpha_t x) / sigma_t
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from runtime.errors import UserError

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What a network may predict, as diffusers names it: the noise, the velocity, or the clean latents."""


BETA_SCHEDULES = ("linear", "scaled_linear")
"""How beta_t may grow, as diffusers names it: linear in t (DDPM), or its square root so (Stable Diffusion)."""


def make_betas(kind: str, beta_start: float, beta_end: float, num_timesteps: int) -> Float64[Tensor, " T"]:
    """Return beta_t, the variance of the noise that step t adds.

    Args:
        kind: one of `BETA_SCHEDULES`.
        beta_start: beta_0, in (0, beta_end].
        beta_end: beta_{T-1}, in (0, 1).
        num_timesteps: T, at least 2.

    Raises:
        ValueError: where an argument is out of its range.
    """
    if not 0.0 < beta_start <= beta_end < 1.0 or num_timesteps < 2:
        given = f"beta_start {beta_start}, beta_end {beta_end}, num_timesteps {num_timesteps}"
        raise ValueError(f"schedule: expected 0 < beta_start <= beta_end < 1 and at least 2 steps, got {given}")
    if kind == "linear":
        return torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64)
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float64) ** 2


def betas_of(description: Mapping[str, Any]) -> Float64[Tensor, " T"]:
    """Return the beta_t that a bundle describes.

    Raises:
        UserError: where their kind or what its network predicts is another one than is implemented.
    """
    kind, predicts = description["beta_schedule"], description.get("prediction_type", "epsilon")
    if kind not in BETA_SCHEDULES or predicts not in PREDICTIONS:
        raise UserError(
            f"bundle's schedule: expected {' or '.join(BETA_SCHEDULES)} and one of {', '.join(PREDICTIONS)}, "
            f"got '{kind}' and '{predicts}'; use another bundle"
        )
    return make_betas(kind, description["beta_start"], description["beta_end"], description["num_timesteps"])


@dataclass(frozen=True)
class Schedule:
    """alpha_t and sigma_t of a diffusion model.

    Attributes:
        alphas: what is left of the clean picture; falls.
        sigmas: the noise's standard deviation; rises.
        prediction: what the network predicts, one of `PREDICTIONS`.
    """

    alphas: Float[Tensor, " T"]
    sigmas: Float[Tensor, " T"]
    prediction: str = "epsilon"

    @classmethod
    def scaled_linear(cls, *, beta_start: float, beta_end: float, num_timesteps: int) -> "Schedule":
        """Return Stable Diffusion's schedule; arguments and errors as of `make_betas`."""
        return cls.of_betas(make_betas("scaled_linear", beta_start, beta_end, num_timesteps))

    @classmethod
    def of_betas(
        cls, betas: Float64[Tensor, " T"], prediction: str = "epsilon", dtype: torch.dtype = torch.float32
    ) -> "Schedule":
        """Return the schedule of these beta_t.

        Args:
            betas: the variance that each step adds.
            prediction: what the network predicts, one of `PREDICTIONS`.
            dtype: of the tables. Variances of single steps are small differences, which need float64.
        """
        # In float64: 1 - alpha^2 of the first steps would lose most of its digits in float32.
        squared_alphas = torch.cumprod(1.0 - betas, 0)
        return cls(squared_alphas.sqrt().to(dtype), (1.0 - squared_alphas).sqrt().to(dtype), prediction)

    @classmethod
    def of(cls, description: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> "Schedule":
        """Return the schedule that a bundle describes; errors as of `betas_of`."""
        return cls.of_betas(betas_of(description), description.get("prediction_type", "epsilon"), dtype)

    def to(self, device: str | torch.device) -> "Schedule":
        """Return the schedule with its tables on a device."""
        return replace(self, alphas=self.alphas.to(device), sigmas=self.sigmas.to(device))

    def __len__(self) -> int:
        """Return T."""
        return len(self.alphas)

    def times(self, *thousandths: int) -> tuple[int, ...]:
        """Return times of 1000, as papers and options have them, as the nearest of this schedule's own."""
        last = len(self) - 1
        return tuple(min(round(t * len(self) / 1000), last) for t in thousandths)

    def at(self, t: Int64[Tensor, " B"]) -> tuple[Float[Tensor, "B 1 1 1"], Float[Tensor, "B 1 1 1"]]:
        """Return alpha_t and sigma_t, shaped to be multiplied with latents."""
        # Not waited for: on a GPU the rest of the step is launched meanwhile.
        alpha, sigma = (table.to(t.device, non_blocking=True)[t] for table in (self.alphas, self.sigmas))
        return alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)

    def _for(self, t: Int64[Tensor, " B"], z: Float[Tensor, "B ..."]) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t in the type of `z`, which tables in float64 must not change."""
        alpha, sigma = self.at(t)
        return alpha.to(z.dtype), sigma.to(z.dtype)

    def diffuse(
        self, x: Float[Tensor, "B C h w"], noise: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Return z_t = alpha_t x + sigma_t noise."""
        alpha, sigma = self._for(t, x)
        return alpha * x + sigma * noise

    def clean(
        self, z: Float[Tensor, "B C h w"], noise: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Return the x that z_t = alpha_t x + sigma_t noise was made of, the first line of Thesis Eq. 6.2."""
        alpha, sigma = self._for(t, z)
        return (z - sigma * noise) / alpha

    def noise_of(
        self, prediction: Float[Tensor, "B C h w"], z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Return the noise eps that a network's prediction stands for: this alone knows the kinds of prediction.

        Args:
            prediction: of the network; guidance may have been applied, for eps is linear in it.
            z: what the network was given.
            t: times in [0, T).
        """
        if self.prediction == "epsilon":
            return prediction
        alpha, sigma = self._for(t, z)
        if self.prediction == "v_prediction":
            return alpha * prediction + sigma * z
        return (z - alpha * prediction) / sigma

    def target_of(
        self, x: Float[Tensor, "B C h w"], noise: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Return what a network should predict of z_t = alpha_t x + sigma_t noise: the inverse of `noise_of`."""
        if self.prediction == "epsilon":
            return noise
        alpha, sigma = self._for(t, x)
        return alpha * noise - sigma * x if self.prediction == "v_prediction" else x
