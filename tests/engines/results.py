"""Results of verifications, for tests of what runs a network."""

from dataclasses import replace
from typing import Any

from runtime.engines.backends.results import VerificationResult

ROLE = "latent_encoder"


def result(backend: str, milliseconds: float, **changes: Any) -> VerificationResult:
    """Return a result of the latent encoder's value that passed on a CPU."""
    passed = VerificationResult(
        role=ROLE,
        provider="value",
        backend=backend,
        device="cpu",
        precision="float32",
        passed=True,
        max_error=1e-6,
        snr_db=90.0,
        cosine=1.0,
        milliseconds=milliseconds,
    )
    return replace(passed, **changes)
