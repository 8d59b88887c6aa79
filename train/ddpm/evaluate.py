"""Print a network's likelihood: the terms of the variational bound, rate and distortion; and how good its samples are.

    python -m train.ddpm.evaluate runs/ddpm --data-dir data/icons.npz
    python -m train.ddpm.evaluate icons-ddpm --data-dir data/icons.npz --sets noto --encoder icons
    python -m train.ddpm.evaluate runs/cifar --inception inception.safetensors --samples 50000

The averaged weights of a run's last checkpoint are evaluated, also while the run continues, or a bundle. The bound has
a term for each of the network's times; `--times` takes one at random from each of so many ranges of them in place of
all, which is right on average.

`--inception` adds FID, KID and IS of samples against the training pictures, by torch-fidelity; its weights are
torch-fidelity's own file, converted to safetensors. `--encoder` adds distances of the features of a bundle's image
encoder, which are figures of that encoder and no FID.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from annotated_types import Interval
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import check_ranges
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError, run_main
from runtime.guidance.diffusion import PredictNoise, prior_term, variational_terms
from runtime.guidance.flow import bits_per_dimension, flow_log_likelihood
from runtime.guidance.sampler import times
from runtime.guidance.schedule import Schedule
from runtime.guidance.solvers import noise_predictor
from train.ddpm.data import to_unit
from train.ddpm.distances import features_of, frechet_distance, kernel_distance
from train.ddpm.subject import Subject, draw_levels, load_subject, solver_of

MARKS = (0, 1, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900)
"""Times at which rate and distortion are printed, the nearest that was evaluated for each."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to evaluate."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m train.ddpm, folder of a bundle, or name of an installed one."""
    data: str = ""
    """icons, cifar10, mnist, or a folder of pictures; by default what the network was trained on."""
    data_dir: Path | None = None
    """Archive or folder of a named data set, by default below data/."""
    sets: str = ""
    """Icon sets, with commas; by default the run's, and all of a bundle."""
    count: Annotated[int, Interval(ge=1, le=100_000)] = 64
    """First pictures of each split that are evaluated."""
    times: Annotated[int, Interval(ge=1, le=100_000)] = 100
    """Ranges of times of which one time each is evaluated, besides the first; as many as there are: every time."""
    variance: Literal["fixedlarge", "fixedsmall"] = "fixedlarge"
    """Variance of the reverse steps, as the authors' code names them."""
    flow: Annotated[int, Interval(ge=0, le=1000)] = 0
    """Steps of the probability flow's likelihood; 0 leaves it out."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of noise and times."""
    inception: Path | None = None
    """Weights of torch-fidelity's Inception as safetensors: prints FID, KID and IS."""
    encoder: str = ""
    """Bundle whose image encoder's features are compared, such as icons."""
    samples: Annotated[int, Interval(ge=2, le=100_000)] = 512
    """Samples of FID, KID, IS and the encoder's distances; the paper has 50,000."""
    sampler: Literal["dpm++", "heun", "ddim", "ancestral"] = "dpm++"
    """How they are drawn; the paper's is ancestral."""
    steps: Annotated[int, Interval(ge=1, le=1000)] = 25
    """Steps of the sampler; the paper has 1000."""


@dataclass(frozen=True)
class Terms:
    """The terms of the bound at some times, in bits a dimension.

    Attributes:
        visited: the times, rising from 0.
        shares: for each how many times it stands for.
        terms: L_t, the mean over pictures.
        errors: mean squared error of x_hat, of pictures in [-1, 1].
        prior: L_T.
    """

    visited: list[int]
    shares: Float64[Tensor, " n"]
    terms: Float64[Tensor, " n"]
    errors: Float64[Tensor, " n"]
    prior: float

    @property
    def decoder(self) -> float:
        """L_0: the decoder's part, the bits of the last detail."""
        return float(self.terms[0])

    @property
    def rate(self) -> float:
        """L_1 to L_{T-1} and L_T."""
        return float((self.shares * self.terms)[1:].sum()) + self.prior

    @property
    def bound(self) -> float:
        """The whole bound."""
        return self.rate + self.decoder

    def rate_at(self, place: int) -> float:
        """Return the bits that a receiver has read when it estimates the picture at one of the times."""
        return float((self.shares * self.terms)[place + 1 :].sum()) + self.prior

    def rmse_at(self, place: int) -> float:
        """Return the root of the mean squared error of that estimate, of 255."""
        return float(self.errors[place]) ** 0.5 * 127.5


def pick_times(count: int, ranges: int, generator: torch.Generator) -> tuple[list[int], Float64[Tensor, " n"]]:
    """Return time 0 and one time from each of some ranges of the others, and how many each stands for.

    Args:
        count: T.
        ranges: at least 1; at most T - 1 are made.
        generator: of the draws.
    """
    # Time 0 stands alone: its term is the decoder's, and most of the bits.
    edges = torch.linspace(1, count, min(ranges, count - 1) + 1, dtype=torch.float64).round().long()
    sizes = edges.diff()
    places = (torch.rand(len(sizes), generator=generator, dtype=torch.float64) * sizes).long()
    return [0, *(edges[:-1] + places).tolist()], torch.cat((torch.ones(1), sizes)).double()


def evaluate_terms(
    predict: PredictNoise,
    x: Float[Tensor, "B C H W"],
    schedule: Schedule,
    *,
    ranges: int,
    kind: str,
    generator: torch.Generator,
) -> Terms:
    """Return the bound's terms, the mean over pictures.

    Args:
        predict: the network.
        x: pictures of 256 levels in [-1, 1].
        schedule: alpha_t and sigma_t, in float64.
        ranges: as of `pick_times`.
        kind: variance of the reverse steps.
        generator: of noise and times.
    """
    visited, shares = pick_times(len(schedule), ranges, generator)
    rows = []
    for t in visited:
        noise = torch.randn(x.shape, generator=generator)
        # One noise for all parts of a time's figures, so that rate and distortion are of the same receiver.
        terms, errors = variational_terms(predict, x, torch.full((len(x),), t), noise, schedule, kind=kind)
        rows.append((float(terms.mean()) / math.log(2.0), float(errors.mean())))
    terms, errors = torch.tensor(rows, dtype=torch.float64).T
    return Terms(visited, shares, terms, errors, float(prior_term(x, schedule).mean()) / math.log(2.0))


def tables(config: Config) -> Iterator[str]:
    """Yield the lines of the tables.

    Raises:
        UserError: where the run or the data do not fit.
    """
    check_ranges(config)
    extract = None
    if config.inception is not None:
        from train.ddpm.fidelity import load_inception

        # Before hours of sampling, so that a wrong file is told at once.
        extract = load_inception(config.inception)
    subject = load_subject(config.run, data=config.data, data_dir=config.data_dir, sets=config.sets)
    if config.flow and not subject.differentiable:
        raise UserError(
            "--flow: expected a run folder, whose network can be differentiated, got a bundle; name its run"
        )
    yield from likelihood_tables(config, subject)
    if extract is None and not config.encoder:
        return
    solver = solver_of(config.sampler, subject.schedule, config.steps)
    samples = draw_levels(subject, solver, config.samples, config.seed)
    yield f"\n{len(samples)} samples, {config.sampler}, {len(solver.visited)} steps"
    if config.encoder:
        yield from feature_table(config.encoder, samples, subject)
    if extract is not None:
        from train.ddpm.fidelity import fidelity_scores

        yield fidelity_scores(extract, samples, subject.pictures.train)


def likelihood_tables(config: Config, subject: Subject) -> Iterator[str]:
    """Yield the lines of the bound, of rate and distortion, and of the probability flow."""
    pictures, schedule = subject.pictures, subject.schedule
    splits = {"train": pictures.train, "held out": pictures.held_out}
    evaluated: dict[str, Terms] = {}
    yield f"| pictures ({config.variance}) | L_T | L_1 ... | L_0 | bits/dim | RMSE of 255 |"
    yield "|---|---|---|---|---|---|"
    with torch.no_grad():
        for name, split in splits.items():
            x, generator = to_unit(split[: config.count]), torch.Generator().manual_seed(config.seed)
            options = {"ranges": config.times, "kind": config.variance, "generator": generator}
            evaluated[name] = e = evaluate_terms(subject.network, x, schedule, **options)
            parts = f"{e.prior:.6f} | {e.rate - e.prior:.4f} | {e.decoder:.4f} | {e.bound:.4f} | {e.rmse_at(0):.2f}"
            yield f"| {name} ({len(x)}) | {parts} |"
    yield ""
    yield from progressive_table(evaluated["held out"])
    if config.flow:
        bits = flow_bits(subject, to_unit(pictures.held_out[: config.count]), config.flow, config.seed)
        yield f"\nprobability flow, {config.flow} steps, pictures with the first time's noise: {bits:.4f} bits/dim"


def feature_table(name: str, samples: UInt8[Tensor, "N C H W"], subject: Subject) -> Iterator[str]:
    """Yield the lines of the distances of features from the training pictures, of samples and of held-out pictures.

    The Fréchet distance grows as sets get smaller, so samples stand there as often as there are held-out pictures, too.
    """
    bundle = DiffusionBundle.load(name)
    encode, pictures = bundle.image_encoder("none"), subject.pictures
    held_out = pictures.held_out
    rows = {"samples": samples, "as many samples as held out": samples[: len(held_out)], "held out": held_out}
    train = features_of(encode, pictures.train, bundle.embedder_size)
    yield f"| features of bundle {name}'s image encoder, against {len(train)} training pictures | Fréchet | kernel |"
    yield "|---|---|---|"
    for what, levels in rows.items():
        features = features_of(encode, levels, bundle.embedder_size)
        distances = f"{frechet_distance(features, train):.4f} | {kernel_distance(features, train):.6f}"
        yield f"| {what} ({len(levels)}) | {distances} |"


def progressive_table(terms: Terms) -> Iterator[str]:
    """Yield the lines of rate and distortion by the time that a receiver has come to (Table 4 of the paper)."""
    yield "| time | rate, bits/dim | RMSE of 255 |"
    yield "|---|---|---|"
    places = {min(range(len(terms.visited)), key=lambda i, m=mark: abs(terms.visited[i] - m)) for mark in MARKS}
    for place in sorted(places):
        yield f"| {terms.visited[place]} | {terms.rate_at(place):.5f} | {terms.rmse_at(place):.2f} |"


def flow_bits(subject: Subject, x: Float[Tensor, "B C H W"], steps: int, seed: int) -> float:
    """Return the probability flow's bits a dimension of pictures that carry the first time's noise."""
    # In float32, as the network is.
    schedule = Schedule(subject.schedule.alphas.float(), subject.schedule.sigmas.float(), subject.schedule.prediction)
    generator = torch.Generator().manual_seed(seed)
    level = schedule.sigmas[0] / schedule.alphas[0]
    y = x + level * torch.randn(x.shape, generator=generator)
    rising = list(reversed(times(schedule, min(steps, len(schedule)))))
    nats = flow_log_likelihood(noise_predictor(subject.network, schedule), y, schedule, rising, generator)
    return float(bits_per_dimension(nats, x[0].numel()).mean())


def main() -> None:
    """Evaluate from a command line."""
    for line in tables(parse_options(Config, "train.ddpm.evaluate", description=__doc__)):
        print(line, flush=True)


if __name__ == "__main__":
    run_main(main)
