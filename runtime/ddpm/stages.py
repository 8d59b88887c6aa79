"""The one stage of each of `runtime.ddpm`'s methods: the steps of a sampler, each a step of the loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from runtime.ddpm.config import Interpolate, Sample
from runtime.ddpm.pictures import read_input, tell_scaled, to_levels
from runtime.errors import UserError
from runtime.guidance.repaint import advance as repaint
from runtime.guidance.repaint import plan_moves
from runtime.guidance.sampler import times
from runtime.guidance.schedule import Schedule
from runtime.guidance.solvers import Ancestral, Ddim, DpmSolver, Heun, Predict, Solver, State, noise_predictor
from runtime.loop.events import Report
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.pixels.sheets import FRAMES, read_hidden

if TYPE_CHECKING:
    from runtime.ddpm.config import Complete
    from runtime.engines.bundle import DdpmBundle
    from runtime.loop.folder import RunFolder


class PictureScene(Scene):
    """Pictures on their way from noise.

    Attributes:
        z: noisy pictures, at the time of the next step.
        x_hat: the clean pictures predicted in the step before; after the last step, the result.
        frames: levels of `x_hat` at some steps, for a moving picture; may be empty.
    """

    def __init__(self, z: Tensor, x_hat: Tensor, frames: Tensor) -> None:
        super().__init__()
        self.z, self.x_hat, self.frames = z, x_hat, frames

    @classmethod
    def begin(cls, z: Float[Tensor, "B C H W"], frames: int = 0) -> "PictureScene":
        """Return the scene before the first step, with room for so many frames."""
        return cls(z, torch.zeros_like(z), torch.zeros((frames, *z.shape), dtype=torch.uint8))

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that the constructor takes."""
        # After the last step both are one tensor, which a checkpoint may not hold twice.
        return {"z": self.z.clone(), "x_hat": self.x_hat, "frames": self.frames}

    @property
    def pictures(self) -> Float[Tensor, "B C H W"]:
        """The clean pictures so far, in [-1, 1]."""
        return self.x_hat

    def take(self, state: State) -> None:
        """Go on to another state of the sampler."""
        self.z, self.x_hat = state.z, state.x_hat


def schedule_of(bundle: "DdpmBundle") -> Schedule:
    """Return the bundle's schedule, in float64."""
    return Schedule.of(bundle.schedule, torch.float64)


def predictor_of(bundle: "DdpmBundle", schedule: Schedule) -> Predict:
    """Return the noise that the bundle's network predicts, as samplers ask for it."""
    predict, device = noise_predictor(bundle.denoiser(), schedule), bundle.device
    # Schedules and draws stay on the CPU, whose generators are the same everywhere.
    return lambda z, t: predict(z.to(device), t).cpu()


def build_sample(
    config: Sample,
    bundle: "DdpmBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage of sampling; see `runtime.command.method.Method.build`."""
    schedule = schedule_of(bundle)
    solver = solver_of(config, bundle, schedule)
    shape = (config.count if config.shared is None else 1, *bundle.shape)
    frames = min(FRAMES, config.steps) if config.video else 0

    def begin(draws: torch.Generator) -> PictureScene:
        scene = PictureScene.begin(torch.randn(shape, generator=draws), frames)
        scene.frames = scene.frames.repeat(1, config.count // shape[0], 1, 1, 1)
        return scene

    stage = _stage(solver, predictor_of(bundle, schedule), begin, config.seed)
    shared, go_on = config.shared, stage.advance
    if shared is None or go_on is None:
        return [stage]

    def advance(scene: PictureScene, step: int, draws: torch.Generator) -> None:
        # From here on each has its own noise: what they have in common is z at this time (the paper's Figure 7).
        if len(scene.z) < config.count and solver.visited[step] <= shared:
            scene.take(State(*(part.repeat(config.count, 1, 1, 1) for part in (scene.z, scene.x_hat))))
        go_on(scene, step, draws)

    return [replace(stage, advance=advance)]


def solver_of(config: Sample, bundle: "DdpmBundle", schedule: Schedule) -> Solver:
    """Return the sampler that a request names."""
    visited = times(schedule, config.steps)
    if config.sampler == "ancestral":
        kind = bundle.manifest.variance if config.variance == "bundle" else config.variance
        return Ancestral(schedule, visited, clip=True, kind=kind)
    if config.sampler == "ddim":
        return Ddim(schedule, visited, clip=True, eta=config.eta)
    return {"dpm++": DpmSolver, "heun": Heun}[config.sampler](schedule, visited, clip=True)


def build_interpolation(
    config: Interpolate,
    bundle: "DdpmBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage of a blend (arXiv:2006.11239 section 4.4); see `runtime.command.method.Method.build`.

    Each picture's noise is the same in all blends, so that what lies between two of them lies between their drawings.
    """
    schedule = schedule_of(bundle)
    pair = []
    for path in (config.first, config.second):
        x, scaled_from = read_input(path, bundle)
        tell_scaled(path, scaled_from, bundle, report)
        pair.append(x)
    visited = times_from(schedule, config.time, config.steps)

    def begin(draws: torch.Generator) -> PictureScene:
        # Both at one time, as one network call denoises the blend of them.
        t = torch.tensor([config.time])
        noised = [schedule.diffuse(x, torch.randn(x.shape, generator=draws), t) for x in pair]
        # Blended while noisy: the network then removes what no picture has, such as two ghosts.
        share = torch.linspace(0.0, 1.0, config.count)[:, None, None, None]
        blend = (1.0 - share) * noised[0] + share * noised[1]
        # Two independent noises add up to less than one: without this the middle would be too smooth for its time.
        return PictureScene.begin(blend / ((1.0 - share).square() + share.square()).sqrt())

    return [_stage(Ddim(schedule, visited, clip=True), predictor_of(bundle, schedule), begin, config.seed)]


def times_from(schedule: Schedule, first: int, steps: int) -> list[int]:
    """Return the distinct times that a sampler visits from a time on, spaced as those of a whole sampling."""
    # The beginning of a schedule is a schedule: `times` spaces the steps by its noise alone.
    part = Schedule(schedule.alphas[: first + 1], schedule.sigmas[: first + 1], schedule.prediction)
    return times(part, min(steps, first + 1))


def _stage(solver: Solver, predict: Predict, begin: Callable[[torch.Generator], PictureScene], seed: int) -> Stage:
    """Return the stage that goes through the steps of a sampler."""
    steps = len(solver.visited)

    def start(before: None, generator: torch.Generator) -> PictureScene:
        # Seeded by the request alone, so that the same seed begins with the same noise in every sampler.
        return begin(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def advance(scene: PictureScene, step: int, generator: torch.Generator) -> None:
        scene.take(solver.advance(predict, State(scene.z, scene.x_hat), step, generator))
        # Evenly by steps, the last frame after the last step, however few steps there are.
        frames = len(scene.frames)
        if frames and (step + 1) * frames // steps > step * frames // steps:
            scene.frames[(step + 1) * frames // steps - 1] = to_levels(scene.x_hat)

    return Stage(name="denoise", steps=steps, begin=start, restore=restore, advance=advance, snapshots=0)


def restore(state: Mapping[str, Tensor]) -> PictureScene:
    """Return the scene of a checkpoint."""
    return PictureScene.from_state(state)


@dataclass(frozen=True)
class Observed:
    """What a request observes of its picture.

    Attributes:
        x: the picture.
        hidden: true where it is not observed.
        truth: the whole picture, where it was given.
        scaled_from: height and width of the picture where it was scaled.
    """

    x: Float[Tensor, "1 C H W"]
    hidden: Bool[Tensor, "H W"]
    truth: Float[Tensor, "1 C H W"] | None
    scaled_from: tuple[int, int] | None

    @classmethod
    def of(cls, config: "Complete", bundle: "DdpmBundle") -> "Observed":
        """Read the files of a request; a `UserError` names one that does not fit."""
        x, scaled_from = read_input(config.picture, bundle, invert=config.invert)
        side = bundle.manifest.image_size
        hidden = torch.from_numpy(read_hidden(config.hide, (side, side), scaled_from))
        truth = None if config.truth is None else read_input(config.truth, bundle, invert=config.invert)[0]
        return cls(x, hidden, truth, scaled_from)


def build_completion(
    config: "Complete",
    bundle: "DdpmBundle",
    generator: torch.Generator,
    *,
    run: "RunFolder | None" = None,
    report: Report = lambda event: None,
) -> list[Stage]:
    """Return the stage of a completion; see `runtime.command.method.Method.build`."""
    observed = Observed.of(config, bundle)
    tell_scaled(config.picture, observed.scaled_from, bundle, report)
    schedule = schedule_of(bundle)
    # RePaint is made of the ancestral steps: noise that it adds on the way back is what they take away.
    sampler = Ancestral(schedule, times(schedule, config.steps), clip=True, kind=bundle.manifest.variance)
    moves = plan_moves(config.steps, config.jump, config.resamples)
    predict = predictor_of(bundle, schedule)

    def begin(before: None, draws: torch.Generator) -> PictureScene:
        draws = torch.Generator().manual_seed(config.seed)
        return PictureScene.begin(torch.randn((config.samples, *bundle.shape), generator=draws))

    @torch.no_grad()
    def advance(scene: PictureScene, step: int, draws: torch.Generator) -> None:
        state = State(scene.z, scene.x_hat)
        scene.take(repaint(sampler, predict, state, moves[step], observed.x, observed.hidden, draws))

    return [Stage(name="complete", steps=len(moves), begin=begin, restore=restore, advance=advance, snapshots=0)]


def validate_steps(config: Sample, bundle: "DdpmBundle") -> None:
    """Raise `UserError` where there are fewer times than are asked for, or pictures that share a time stay one."""
    check_steps(config.steps, bundle)
    count = bundle.schedule["num_timesteps"]
    if config.shared is not None and config.shared >= count:
        raise UserError(
            f"--shared: expected 0 to {count - 1}, the times of bundle '{bundle.name}', got {config.shared}"
        )
    draws = config.sampler == "ancestral" or (config.sampler == "ddim" and config.eta > 0)
    if config.shared is not None and not draws:
        raise UserError(
            f"--shared: expected --sampler ancestral, or ddim with --eta above 0, got {config.sampler}, which draws "
            "nothing on the way"
        )


def check_steps(steps: int, bundle: "DdpmBundle") -> None:
    """Raise `UserError` where the network has fewer times than steps are asked for."""
    count = bundle.schedule["num_timesteps"]
    if steps > count:
        raise UserError(f"--steps: expected at most {count}, the times of bundle '{bundle.name}', got {steps}")


def validate_interpolation(config: Interpolate, bundle: "DdpmBundle") -> None:
    """Raise `UserError` where the request does not fit the bundle."""
    count = bundle.schedule["num_timesteps"]
    if config.time >= count:
        raise UserError(f"--time: expected 0 to {count - 1}, the times of bundle '{bundle.name}', got {config.time}")
    for path in (config.first, config.second):
        read_input(path, bundle)


def validate_completion(config: "Complete", bundle: "DdpmBundle") -> None:
    """Raise `UserError` where the request's files do not fit each other or the bundle."""
    check_steps(config.steps, bundle)
    Observed.of(config, bundle)
