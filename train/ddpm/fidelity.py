"""FID, KID and IS by torch-fidelity, with the weights of its Inception by path.

The file is torch-fidelity's own, `weights-inception-2015-12-05`, converted to safetensors: the package itself would
unpickle it, or download it.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from runtime.errors import UserError
from runtime.installing import install_command
from train.ddpm.weights import read_tensors

FEATURES, LOGITS = "2048", "logits_unbiased"
"""Layers of FID and KID, and of IS."""

BATCH = 32
"""Pictures that Inception takes together."""

SUBSET = 1000
"""Pictures of a subset of KID, or all where there are fewer."""

Extract = Callable[[UInt8[Tensor, "N C H W"]], dict[str, Tensor]]
"""Inception's features of levels, by layer."""


def load_inception(weights: Path) -> Extract:
    """Return torch-fidelity's Inception.

    Raises:
        UserError: where the package or the file is missing, or the file is a pickle or has other tensors.
    """
    tensors = read_tensors(weights)
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore[reportMissingImports]
            FeatureExtractorInceptionV3,
        )
    except ImportError as error:
        raise UserError(
            f"--inception: expected the package torch-fidelity, got '{error}'; install it with: "
            f"{install_command('benchmark')}"
        ) from error
    # The package reads pickles only. This one is our own, of the tensors just read, and never a file.
    stored = io.BytesIO()
    torch.save(tensors, stored)
    stored.seek(0)
    try:
        network: Any = FeatureExtractorInceptionV3(
            "inception", [FEATURES, LOGITS], feature_extractor_weights_path=stored
        )
    except RuntimeError as error:
        raise UserError(
            f"--inception '{weights}': expected the tensors of torch-fidelity's weights-inception-2015-12-05, got "
            "others; convert that file"
        ) from error

    @torch.no_grad()
    def extract(levels: Tensor) -> dict[str, Tensor]:
        rows = [network(part.expand(-1, 3, -1, -1).contiguous()) for part in levels.split(BATCH)]
        return {name: torch.cat(parts) for name, parts in zip((FEATURES, LOGITS), zip(*rows, strict=True), strict=True)}

    return extract


def fidelity_scores(extract: Extract, samples: UInt8[Tensor, "N C H W"], pictures: UInt8[Tensor, "M C H W"]) -> str:
    """Return a line with FID and KID of samples against pictures, and the samples' IS."""
    from torch_fidelity.metric_fid import (  # pyright: ignore[reportMissingImports]
        KEY_METRIC_FID,
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )
    from torch_fidelity.metric_isc import isc_features_to_metric  # pyright: ignore[reportMissingImports]
    from torch_fidelity.metric_kid import kid_features_to_metric  # pyright: ignore[reportMissingImports]

    ours, theirs = extract(samples), extract(pictures)
    drawn, real = (fid_features_to_statistics(part[FEATURES]) for part in (ours, theirs))
    fid = fid_statistics_to_metric(drawn, real, False)[KEY_METRIC_FID]
    size = min(SUBSET, len(samples), len(pictures))
    kid = kid_features_to_metric(ours[FEATURES], theirs[FEATURES], kid_subset_size=size, verbose=False)
    score = isc_features_to_metric(ours[LOGITS])
    kid_parts = [kid[f"kernel_inception_distance_{part}"] for part in ("mean", "std")]
    score_parts = [score[f"inception_score_{part}"] for part in ("mean", "std")]
    return (
        f"torch-fidelity, {len(samples)} samples against {len(pictures)} pictures: FID {fid:.3f}, "
        f"KID {kid_parts[0]:.5f} +- {kid_parts[1]:.5f} (subsets of {size}), "
        f"IS {score_parts[0]:.3f} +- {score_parts[1]:.3f}"
    )
