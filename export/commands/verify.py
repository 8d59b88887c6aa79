"""`python -m export verify`: does every network of a bundle compute the right numbers on this machine?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import tyro

from runtime.command.ranges import Duration, Threads
from runtime.engines.backends.table import BACKENDS
from runtime.errors import UserError

if TYPE_CHECKING:
    from export.verify.inputs import Reference
    from runtime.engines.backends.results import VerificationResult
    from runtime.engines.bundle import Bundle, DiffusionBundle

STORED = "the bundle's own stored weights in NumPy; what storing them in few bits costs is unseen"
"""What a bundle is compared with where the weights that it was made of are not at hand."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Compare every network of a bundle, on all that can run it here, with PyTorch float32.

    The results stay in a cache of this machine.

    Ends with 1 where a network misses its gate: the bundle is then not used by default on this machine.
    """

    bundle: Annotated[str, tyro.conf.Positional]
    """Name of an installed bundle, or its folder."""
    weights: str | None = None
    """What the bundle was made of, as given to --weights of its export. Without: what bundle.json names, or else the
    bundle's own stored weights, evaluated in NumPy."""
    backend: str = ",".join(BACKENDS)
    """What to verify; of these, what this machine has."""
    device: str = "auto"
    """cpu, cuda, or auto: every device of this machine."""
    threads: Threads | None = None
    """Threads of one operator; by default as many as PyTorch uses."""
    memory: Duration = 1.0
    """GiB that the activations of the greatest batch may take."""


def run_verify(options: Verify) -> int:
    """Print the table, keep the results, and return 1 where a network misses its gate."""
    from export.verify.bundle import Row, format_rows, verify_networks
    from export.verify.providers import devices
    from export.verify.scene import verify_scene
    from runtime.engines.backends.results import write_results
    from runtime.engines.bundle import Bundle, DiffusionBundle

    backends = _backends(options.backend)
    chosen = devices() if options.device == "auto" else (options.device,)
    report = partial(print, flush=True)
    rows: list[Row] = []
    for device in chosen:
        bundle = Bundle.load(options.bundle, device=device, threads=options.threads)
        references, description = _references(bundle, options)
        report(f"reference: {description}")
        rows += verify_networks(bundle, references, backends, device, report)
        if isinstance(bundle, DiffusionBundle):
            for same in _on_backends(bundle, backends, report):
                rows += verify_scene(same, references, report)
    print(format_rows(rows))
    # By the bundle's digest: a result is true of these very files only.
    path = write_results(bundle.digest, fail_with_scene([row.result for row in rows]))
    missed = [row.comparison.name for row in rows if not row.comparison.passed]
    print(f"results are kept in {path}")
    if missed:
        print(f"bundle {bundle.name} is not to be used on this machine: {', '.join(missed)}")
    return 1 if missed else 0


def fail_with_scene(results: "Sequence[VerificationResult]") -> "list[VerificationResult]":
    """Return the results, that on a network failed too where the scene's gradient failed with it.

    What chooses a backend looks at networks: the denoiser's values, and the latent encoder's gradients by engines.
    """
    bad = {(v.role, v.backend, v.device) for v in results if v.provider == "scene" and not v.passed}
    kinds = {"denoiser": "value", "latent_encoder": "gradient"}
    return [
        replace(v, passed=False) if (v.role, v.backend, v.device) in bad and v.provider == kinds.get(v.role) else v
        for v in results
    ]


def _backends(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in BACKENDS]
    if unknown:
        raise UserError(f"--backend: expected some of {', '.join(BACKENDS)}, got {unknown[0]!r:.60}")
    return names


def _on_backends(
    bundle: "DiffusionBundle", backends: list[str], report: "Callable[[str], None]"
) -> "Iterator[DiffusionBundle]":
    """Yield the bundle on each backend that can run its denoiser here."""
    for backend in backends:
        same = type(bundle)(bundle.folder, device=bundle.device, threads=bundle.threads, backend=backend)
        try:
            if same.choices()["denoiser"].backend == backend:
                yield same
        except UserError as error:
            report(f"scene: {backend} on {bundle.device} left out: {error}")


def _references(bundle: "Bundle", options: Verify) -> "tuple[Mapping[str, Reference], str]":
    """Return what the networks are compared with, and one line that says what that is."""
    from export.verify.inputs import TorchReferences
    from export.verify.references import reference_networks
    from export.verify.stored import BundleReferences

    try:
        networks = reference_networks(bundle.folder, options.weights)
    except UserError as error:
        # Named weights that do not fit are an error; recorded ones may just not be on this machine.
        if options.weights is not None:
            raise
        return BundleReferences(bundle), f"{STORED} ({error})"
    weights = options.weights or "the recorded source"
    return TorchReferences(bundle, networks, options.memory), f"PyTorch float32 of {weights}"
