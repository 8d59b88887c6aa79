"""What `python -m export verify` found on this machine: which networks of a bundle compute the right numbers here.

The results are in a cache outside of the bundle, since they hold for a machine: its processor, its GPUs and the
versions of what runs networks. Results of another machine are never read.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.engines.backends.table import BACKENDS
from runtime.engines.hardware import machine_key
from runtime.engines.spec import FORMAT, check_format
from runtime.engines.strict_json import GREATEST_JSON, check_fields, parse_object
from runtime.engines.verified_files import read_limited
from runtime.errors import UserError
from runtime.files import replace_file

PROVIDERS = ("value", "gradient", "scene")
"""What was compared: a network's outputs, its vector-Jacobian product, or the gradient of a whole vector scene."""

DEVICES = ("cpu", "cuda")
"""Where it ran."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9_]{1,64}")
_KINDS = {"role": str, "provider": str, "backend": str, "device": str, "precision": str, "passed": bool}
_FIGURES = ("max_error", "snr_db", "cosine", "milliseconds")


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """How one network did on one backend, at its worst shape and input."""

    role: str
    """What the network is for."""
    provider: str
    """One of `PROVIDERS`."""
    backend: str
    """One of `BACKENDS`."""
    device: str
    """One of `DEVICES`."""
    precision: str
    """How weights are stored or what is computed in: `float32`, `float16`, `bfloat16`, `int8`."""
    passed: bool
    """Whether the figures reach their gates."""
    max_error: float = math.nan
    """Greatest absolute difference from PyTorch float32; NaN where an output was not finite."""
    snr_db: float = math.nan
    """Signal-to-noise ratio, dB."""
    cosine: float = math.nan
    """Least cosine of an example with its reference."""
    milliseconds: float = math.nan
    """Median time of a call at the typical shape; NaN where it was not measured."""

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies a result: a file has at most one for each key."""
        return (self.role, self.provider, self.backend, self.device, self.precision)

    def __str__(self) -> str:
        """Return one line that names the network and its figures."""
        figures = f"SNR {self.snr_db:.1f} dB, cosine {self.cosine:.6f}, greatest error {self.max_error:.2g}"
        return f"{self.role} ({self.provider}, {self.backend} on {self.device}, {self.precision}): {figures}"


def cache_folder() -> Path:
    """Return where caches go: `$TGM_CACHE`, else `$XDG_CACHE_HOME/tgm`, else `~/.cache/tgm`; it need not exist."""
    if own := os.environ.get("TGM_CACHE"):
        # Processes that start elsewhere take it for the same folder.
        return Path(own).absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).absolute() / "tgm"
    # Path.home would raise where there is no home folder
    return Path(os.path.expanduser("~")) / ".cache" / "tgm"


def results_file(bundle_digest: str) -> Path:
    """Return the file of this machine's results for a bundle.

    Args:
        bundle_digest: SHA-256 of its bundle.json.

    Raises:
        ValueError: it is not a SHA-256.
    """
    return _folder_of(bundle_digest) / f"{bundle_digest}-{machine_key()}.json"


def _folder_of(bundle_digest: str) -> Path:
    # it becomes part of a file's name, which must not lead out of the cache
    if not _DIGEST.fullmatch(bundle_digest):
        raise ValueError(f"bundle digest: expected 64 hexadecimal digits, got {bundle_digest!r:.80}")
    return cache_folder() / "verification"


def read_results(bundle_digest: str) -> list[VerificationResult]:
    """Return this machine's results for a bundle; none where it was never verified here.

    Args:
        bundle_digest: SHA-256 of its bundle.json.

    Raises:
        UserError: the file is not one of `write_results`; the message names it and the remedy.
    """
    folder = _folder_of(bundle_digest)
    if not any(folder.glob(f"{bundle_digest}-*.json")):  # before the machine is asked, which may wake a GPU
        return []
    path = results_file(bundle_digest)
    return _parse(read_limited(path, GREATEST_JSON, f"'{path}'"), path) if path.is_file() else []


def write_results(bundle_digest: str, results: Iterable[VerificationResult]) -> Path:
    """Write results for a bundle, in place of older ones with the same keys; return the file.

    Older results with other keys stay. A file that cannot be read is replaced. Readers see the old or the new file.

    Raises:
        UserError: the cache cannot be written; the message names `$TGM_CACHE`.
    """
    try:
        latest = {result.key: result for result in read_results(bundle_digest)}
    except UserError:  # what a damaged cache held can be measured again
        latest = {}
    # there is no lock: of two writers at once the later wins, and the other's results have to be measured again
    latest |= {result.key: result for result in results}
    path = results_file(bundle_digest)
    document = {"format": FORMAT, "results": [_to_json(latest[key]) for key in sorted(latest)]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"verification results cannot be kept in '{path.parent}': {error.strerror or error}; "
            "name a folder that can be written in the environment variable TGM_CACHE"
        ) from error
    return path


def failed(bundle_digest: str, backends: Sequence[str] | None = None) -> list[VerificationResult]:
    """Return the results of these backends that did not pass on this machine; none where nothing was verified.

    Raises:
        UserError: as of `read_results`.
    """
    return [v for v in read_results(bundle_digest) if not v.passed and v.backend in (backends or BACKENDS)]


def _to_json(result: VerificationResult) -> dict[str, object]:
    """Return the object of a result; figures that are not finite are left out, since JSON has no such numbers."""
    return {name: x for name, x in asdict(result).items() if name not in _FIGURES or math.isfinite(x)}


def _parse(content: bytes, path: Path) -> list[VerificationResult]:
    where = f"'{path}'"
    try:
        document = parse_object(content, where)
        check_format(document, where)
        check_fields(document, where, {"format": int, "results": list})
        results = [_result(entry, f"{where}: results[{i}]") for i, entry in enumerate(document["results"])]
        # of two results that disagree, the order in the file would decide
        if len({result.key for result in results}) != len(results):
            raise UserError(f"{where}: expected one result for each thing, got two")
    except UserError as error:
        raise UserError(f"{error}; delete the file, or run python -m export verify again") from None
    return results


def _result(entry: object, where: str) -> VerificationResult:
    fields = check_fields(entry, where, _KINDS, dict.fromkeys(_FIGURES, float))
    for name, allowed in (("provider", PROVIDERS), ("backend", BACKENDS), ("device", DEVICES)):
        if fields[name] not in allowed:
            raise UserError(f"{where}: field {name!r}: expected one of {', '.join(allowed)}, got {fields[name]!r:.60}")
    for name in ("role", "precision"):
        if not _WORD.fullmatch(fields[name]):
            raise UserError(f"{where}: field {name!r}: expected a word, got {fields[name]!r:.80}")
    # figures that are not finite are left out, and a network with such figures cannot have passed
    if fields["passed"] and not {"snr_db", "cosine"} <= set(fields):
        raise UserError(f"{where}: expected the figures of a network that passed, got none")
    return VerificationResult(**fields)
