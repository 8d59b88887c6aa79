"""What the bundle.json of a latent diffusion model says: noise schedule, sizes of pictures, latents and prompts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runtime.engines.bundle.manifest import LATENT_DIFFUSION, Manifest, check_range
from runtime.engines.strict_json import check_fields
from runtime.errors import UserError

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What a denoiser may predict."""

_SCHEDULE_KINDS: dict[str, type] = {
    "num_timesteps": int,
    "beta_start": float,
    "beta_end": float,
    "beta_schedule": str,
    "prediction_type": str,
}


@dataclass(frozen=True, kw_only=True)
class DiffusionManifest(Manifest):
    """The content of bundle.json."""

    kind: ClassVar[str] = LATENT_DIFFUSION
    roles: ClassVar[tuple[str, ...]] = (
        "text_encoder",
        "text_encoder_2",
        "denoiser",
        "latent_encoder",
        "latent_decoder",
        "image_embedder",
        "text_embedder",
    )
    required: ClassVar[Mapping[str, type]] = {
        "schedule": dict,
        "latent_scale": float,
        "latent_shape": list,
        "image_size": int,
        "text_length": int,
        "prompt_suffix": str,
    }
    optional: ClassVar[Mapping[str, type]] = {
        "time_ids": list,
        "zero_empty": bool,
        "sample_times": list,
        "source": dict,
    }

    schedule: Mapping[str, Any]
    """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type, as diffusers names them."""
    latent_scale: float = 1.0
    """Factor between the autoencoder's latents and the scaled ones that every network here takes and gives."""
    latent_shape: tuple[int, int, int]
    """Channels, rows and columns of the latents."""
    image_size: int
    """Height and width of the pictures, pixels."""
    text_length: int
    """Tokens of a prompt, special ones included."""
    prompt_suffix: str = ""
    """Text that a method appends to each prompt."""
    time_ids: tuple[float, ...] = ()
    """What Stable Diffusion XL's denoiser takes about the pictures: height and width before cropping, top and left of
    the crop, height and width."""
    zero_empty: bool = False
    """Whether the context of the empty prompt is all zeros."""
    sample_times: tuple[int, ...] = ()
    """The only times at which a few-step model samples, in falling order; empty means any."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """For each exporter (`sd`, `clip`, `timm`) what the networks were made of: weights, seed, hashes, precision."""

    @classmethod
    def parse_own(cls, document: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the fields of this kind; arguments and errors as of `Manifest.parse_own`."""
        check_range(document, where, "image_size", 1, 16384)
        check_range(document, where, "text_length", 1, 65536)
        check_range(document, where, "latent_scale", 1e-6, 1e6)
        schedule = parse_schedule(document["schedule"], f"{where}: schedule")
        return {
            "schedule": schedule,
            "latent_shape": _latent_shape(document["latent_shape"], where),
            "time_ids": _time_ids(document.get("time_ids", []), where),
            "sample_times": _sample_times(document.get("sample_times", []), where, schedule["num_timesteps"]),
            "source": _source(document.get("source", {}), f"{where}: source"),
        }


def parse_schedule(value: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of a noise schedule; a `UserError` names one that is missing or makes no sense."""
    check_fields(value, where, _SCHEDULE_KINDS)
    check_range(value, where, "num_timesteps", 1, 100_000)
    check_range(value, where, "beta_start", 1e-12, 0.999)
    # below 1, where nothing of the picture would be left, and a prediction of it would divide by 0
    check_range(value, where, "beta_end", value["beta_start"], 0.999)
    if value["beta_schedule"] not in ("scaled_linear", "linear"):
        raise UserError(
            f"{where}: field 'beta_schedule': expected scaled_linear or linear, got {value['beta_schedule']!r:.60}"
        )
    if value["prediction_type"] not in PREDICTIONS:
        raise UserError(
            f"{where}: field 'prediction_type': expected {', '.join(PREDICTIONS)}, got {value['prediction_type']!r:.60}"
        )
    return value


def _latent_shape(value: list[Any], where: str) -> tuple[int, int, int]:
    if len(value) != 3 or not all(type(size) is int and 1 <= size <= 4096 for size in value):
        raise UserError(f"{where}: field 'latent_shape': expected three sizes of 1 to 4096, got {value!r:.60}")
    return (value[0], value[1], value[2])


def _time_ids(value: list[Any], where: str) -> tuple[float, ...]:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x <= 65536 for x in value)
    if len(value) not in (0, 6) or not numbers:
        raise UserError(f"{where}: field 'time_ids': expected six numbers of 0 to 65536, got {value!r:.60}")
    return tuple(float(x) for x in value)


def _sample_times(value: list[Any], where: str, count: int) -> tuple[int, ...]:
    whole = all(type(t) is int and 0 <= t < count for t in value)
    if not whole or sorted(set(value), reverse=True) != value:
        raise UserError(f"{where}: field 'sample_times': expected falling times below {count}, got {value!r:.60}")
    return tuple(value)


def _source(value: dict[str, Any], where: str) -> dict[str, Any]:
    for name, record in value.items():
        fields = {"weights": str, "precision": str}
        optional = {"seed": int, "files": dict, "model": str, "size": int, "keys": dict}
        check_fields(record, f"{where}: {name!r:.60}", fields, optional)
        for part in ("files", "keys"):
            texts = record.get(part, {})
            if not all(isinstance(text, str) for text in texts.values()):
                raise UserError(f"{where}: {name!r:.60}: {part}: expected a text for each name, got {texts!r:.60}")
    return value
