"""What bundle.json says: licence, provenance, noise schedule, sizes, defaults, and the folder of each network."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.engines.spec import FORMAT, FileSpec, check_format, parse_files
from runtime.engines.strict_json import check_fields, check_file_name, parse_object
from runtime.errors import UserError

ROLES = (
    "text_encoder",
    "text_encoder_2",
    "denoiser",
    "latent_encoder",
    "latent_decoder",
    "image_embedder",
    "text_embedder",
)
"""What a network of a bundle can be for."""

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What a denoiser may predict."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KINDS: dict[str, type] = {
    "format": int,
    "name": str,
    "version": str,
    "licence": str,
    "provenance": str,
    "schedule": dict,
    "latent_scale": float,
    "latent_shape": list,
    "image_size": int,
    "text_length": int,
    "prompt_suffix": str,
    "defaults": dict,
    "networks": dict,
    "files": dict,
}
_OPTIONAL: dict[str, type] = {"time_ids": list, "zero_empty": bool, "sample_times": list, "source": dict}
_SCHEDULE_KINDS: dict[str, type] = {
    "num_timesteps": int,
    "beta_start": float,
    "beta_end": float,
    "beta_schedule": str,
    "prediction_type": str,
}


METHOD = "latent-diffusion"
"""What the field `method` says; without that field a bundle is one of these."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of bundle.json."""

    name: str
    """The bundle's name."""
    version: str
    """The bundle's own version; informative."""
    licence: str
    """SPDX expression of the weights' licence."""
    provenance: str
    """Who trained the networks on what, and where the attributions are."""
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
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of a method's configuration that suit these networks."""
    time_ids: tuple[float, ...] = ()
    """What Stable Diffusion XL's denoiser is told of the pictures: height and width before cropping, top and left of
    the crop, height and width."""
    zero_empty: bool = False
    """Whether the context of the empty prompt is all zeros."""
    sample_times: tuple[int, ...] = ()
    """The only times, falling, that a few-step model samples at; none means any."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """For each exporter (`sd`, `clip`, `timm`) what the networks were made of: weights, seed, hashes, precision."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Folder of the network for each role of `ROLES`."""
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    """Size and hash of each network's spec.json and of the files beside bundle.json."""

    @property
    def method(self) -> str:
        """What the networks are for."""
        return METHOD

    def to_json(self) -> str:
        """Return the text of bundle.json; of the optional fields only those that are not empty."""
        return format_manifest(self, [*_KINDS, *(name for name in _OPTIONAL if getattr(self, name))])

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "Manifest":
        """Return what the text of a bundle.json says.

        Args:
            data: content of the file.
            where: name of the file, for messages.

        Raises:
            UserError: not JSON, from a newer version, or a field is missing, unknown or makes no sense.
        """
        document = parse_object(data, where)
        check_format(document, where)
        check_fields(document, where, _KINDS, _OPTIONAL)
        del document["format"]
        check_bundle_name(document["name"], where)
        check_range(document, where, "image_size", 1, 16384)
        check_range(document, where, "text_length", 1, 65536)
        check_range(document, where, "latent_scale", 1e-6, 1e6)
        files = parse_files(document["files"], where)
        schedule = _schedule(document["schedule"], f"{where}: schedule")
        return cls(
            **document
            | {
                "schedule": schedule,
                "latent_shape": _latent_shape(document["latent_shape"], where),
                "time_ids": _time_ids(document.get("time_ids", []), where),
                "sample_times": _sample_times(document.get("sample_times", []), where, schedule["num_timesteps"]),
                "source": _source(document.get("source", {}), f"{where}: source"),
                "defaults": _defaults(document["defaults"], f"{where}: defaults"),
                "networks": check_networks(document["networks"], files, f"{where}: networks", ROLES),
                "files": files,
            }
        )


def format_manifest(manifest: Any, names: Iterable[str]) -> str:
    """Return the text of bundle.json: the fields of these names, and what each file's size and hash are."""
    document = {"format": FORMAT} | {name: getattr(manifest, name) for name in names if name != "format"}
    document["files"] = {name: file.to_json() for name, file in sorted(manifest.files.items())}
    return json.dumps(document, indent=1, default=dict) + "\n"


def check_bundle_name(name: str, where: str) -> str:
    """Return the name if it can be one; a `UserError` says what it may be made of."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{where}: expected a name of letters, digits, '_', '.' and '-', got {name!r:.120}")
    return name


def check_range(fields: Mapping[str, Any], where: str, name: str, least: float, greatest: float) -> None:
    """Refuse a number outside [least, greatest] with a `UserError` that names it."""
    if not least <= fields[name] <= greatest:
        raise UserError(f"{where}: field {name!r}: expected {least} to {greatest}, got {fields[name]!r:.40}")


def _schedule(value: dict[str, Any], where: str) -> dict[str, Any]:
    check_fields(value, where, _SCHEDULE_KINDS)
    check_range(value, where, "num_timesteps", 1, 100_000)
    check_range(value, where, "beta_start", 1e-12, 0.999)
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


def _defaults(value: dict[str, Any], where: str) -> dict[str, Any]:
    for name, content in value.items():
        values = content if isinstance(content, list) else [content]
        plain = all(isinstance(x, str | bool) or (isinstance(x, int | float) and abs(x) < 1e12) for x in values)
        if not name.isidentifier() or not plain:
            raise UserError(f"{where}: expected option names with numbers or texts, got {name!r:.60}: {content!r:.60}")
    return value


def check_networks(
    value: dict[str, Any], files: Mapping[str, FileSpec], where: str, roles: Sequence[str]
) -> dict[str, str]:
    """Return the folder for each role; a `UserError` names a role that is none of `roles`, or a folder without spec."""
    for role, folder in value.items():
        if role not in roles:
            raise UserError(f"{where}: unknown role {role!r:.60}; expected {', '.join(roles)}")
        if not isinstance(folder, str):
            raise UserError(f"{where}: {role!r}: expected the name of a folder, got {folder!r:.60}")
        check_file_name(folder, where)
        if f"{folder}/spec.json" not in files:
            raise UserError(f"{where}: {role!r}: {folder}/spec.json is not among the files")
    return value
