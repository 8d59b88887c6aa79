"""The one training loop: resumable, with an exponential moving average of the weights, on a CPU or a GPU.

A network is trained by a function of the network, a generator and a step that returns the loss. Every draw of a step
comes from a generator seeded with (seed, step), so a run that is interrupted and resumed ends where an uninterrupted
one does.

Under `accelerate launch --num-processes N -m train...`, or torchrun, N processes draw a batch each and average their
gradients at every step, or, with `exchange` above 1, train apart and average their weights now and then (local SGD,
arXiv:1805.09767), so that a slow core or wire does not hold up the others at every step. The first process writes.
"""

import atexit
import contextlib
import hashlib
import json
import math
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float
from safetensors.torch import save

from runtime.files import replace_file, sweep
from runtime.locking import lock_folder
from runtime.loop.signals import InterruptedRun, stop_on_signals
from train.checkpoint import forget_after, mark, read_checkpoint, refuse_foreign, write_checkpoint
from train.outputs import make_folder

LOOK_EVERY = 16
"""Steps between two looks at the losses on a GPU: reading a number there waits for all that is under way."""

NetworkT = TypeVar("NetworkT", bound=torch.nn.Module)
LossOfStep = Callable[[NetworkT, torch.Generator], Float[torch.Tensor, ""]]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long, how fast and where to train."""

    out: Path
    """Run folder: checkpoint.safetensors, checkpoint.json, ema.safetensors, log.jsonl."""
    steps: int
    """Optimizer steps, at least 1."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    factors: tuple[tuple[str, float], ...] = ()
    """Factors on the learning rate of weights by what their names contain; the first that fits holds, else 1."""
    warmup: int = 500
    """Steps of linear warm-up; a cosine to 2% of the peak follows."""
    decay: float = 0.0
    """Fall of the learning rate a step after the warm-up, as 5e-6, in place of the cosine; 0 is the cosine."""
    constant: bool = False
    """Keep the peak learning rate after the warm-up, in place of the cosine."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decays of AdamW's two moments, each in [0, 1)."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    ema: float = 0.999
    """Decay of the moving average of the weights, in [0, 1)."""
    tail: int = 0
    """Last steps over which the average is uniform instead; 0 for none."""
    clip: float = 1.0
    """Greatest norm of the gradient."""
    seed: int = 0
    """Seed of every draw."""
    exchange: int = 1
    """Steps between exchanges of several processes: 1 averages gradients, more averages weights; at least 1."""
    minutes: float = 3.0
    """Minutes between checkpoints."""
    limit: float = 0.0
    """Minutes after which training ends, whatever its step; the cosine then follows the clock. 0 for none."""
    device: str = "cpu"
    """PyTorch device."""
    bf16: bool = True
    """Run the network under bfloat16 autocast; weights and optimizer stay float32."""


def lr_at(step: int, config: FitConfig, spent: float = 0.0) -> float:
    """Return the learning rate of a step: a warm-up, then a cosine to 2% of the peak, a constant or an exponential.

    Args:
        step: from 0 on.
        config: how the rate runs.
        spent: share of the limited time that is over, where time is limited.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.constant:
        return config.lr
    if config.decay > 0.0:
        return config.lr * (1.0 - config.decay) ** (step - config.warmup)
    progress = max(spent, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))


def factor_of(name: str, config: FitConfig) -> float:
    """Return the factor on the learning rate of a weight: of `factors`, the first whose text its name contains."""
    return next((factor for part, factor in config.factors if part in name), 1.0)


def average_decay(step: int, config: FitConfig) -> float:
    """Return the decay of the average at a step: exponential, or that of a uniform mean over the last `tail` steps."""
    first = config.steps - config.tail
    if step >= first:
        return (step - first) / (step - first + 1)
    # A young average forgets faster, or the initialization would stay in it for thousands of steps.
    return min(config.ema, (1 + step) / (10 + step))


def generator_of_step(config: FitConfig, step: int, rank: int = 0) -> torch.Generator:
    """Return the CPU generator from which a step of a process draws everything.

    PyTorch's CPU generator reads 32 bits of its seed, so seed, process and step are hashed to as many.
    """
    digest = hashlib.sha256(f"{config.seed} {rank} {step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


def join_processes(device: str) -> tuple[int, int]:
    """Return this process' rank and the number of processes, once it has joined those that were started with it.

    On a machine with several GPUs each process takes one of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    from accelerate import PartialState

    joined = dist.is_initialized()
    state = PartialState(cpu=not device.startswith("cuda"))
    if not joined:
        # Its threads must have ended before the interpreter does: left alone, gloo aborts now and then as it goes.
        atexit.register(state.destroy_process_group)
    return state.process_index, state.num_processes


@torch.no_grad()
def average(tensors: list[Float[torch.Tensor, "..."]], size: int) -> None:
    """Replace each tensor by its mean over the processes, in one exchange."""
    if size == 1:
        return
    # One message: latency, not volume, is what hundreds of small tensors would cost.
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.div_(size).split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


class _Run:
    """What a checkpoint holds: weights, their average, the optimizer's moments, the network's buffers and the step."""

    def __init__(self, network: torch.nn.Module, config: FitConfig) -> None:
        self.network, self.config, self.step = network, config, 0
        self.rank, self.size = join_processes(config.device)
        self.names = [n for n, p in network.named_parameters() if p.requires_grad]
        self.weights = [p for p in network.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.weights]
        groups = defaultdict(list)
        for name, weight in zip(self.names, self.weights, strict=True):
            groups[factor_of(name, config)].append(weight)
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "factor": factor} for factor, weights in groups.items()],
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def buffers(self) -> dict[str, torch.Tensor]:
        """Return what belongs to the network besides its weights, such as the statistics of batch normalization."""
        weights = dict(self.network.named_parameters(remove_duplicate=False))
        return {name: value for name, value in self.network.state_dict().items() if name not in weights}

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint holds besides the step."""
        state = {}
        for name, weight, mean in zip(self.names, self.weights, self.average, strict=True):
            # Before the first step the optimizer has no moments, and they are zeros.
            moments = self.optimizer.state.get(weight, {})
            state[f"weight/{name}"], state[f"ema/{name}"] = weight.detach(), mean
            state |= {f"{k}/{name}": moments.get(k, torch.zeros_like(weight)) for k in ("exp_avg", "exp_avg_sq")}
        state |= {f"buffer/{name}": value for name, value in self.buffers().items()}
        return {k: v.detach().cpu().contiguous() for k, v in state.items()}

    def save(self) -> None:
        if self.rank > 0:
            return
        folder = self.config.out
        averages = dict(zip(self.names, self.average, strict=True)) | self.buffers()
        averages = {k: v.cpu().contiguous() for k, v in averages.items()}
        write_checkpoint(folder, self.state(), self.step)
        replace_file(folder / "ema.safetensors", save(averages))
        replace_file(folder / "checkpoint.json", json.dumps({"step": self.step}))

    @torch.no_grad()
    def load(self) -> bool:
        checkpoint = read_checkpoint(self.config.out, self.state())
        if checkpoint is None:
            return False
        self.step, state = checkpoint
        for name, value in self.buffers().items():
            value.copy_(state[f"buffer/{name}"])
        for name, weight, mean in zip(self.names, self.weights, self.average, strict=True):
            weight.copy_(state[f"weight/{name}"])
            mean.copy_(state[f"ema/{name}"])
            self.optimizer.state[weight] = {
                # All weights have as many steps, as each gets a gradient in every one.
                "step": torch.tensor(float(self.step)),
                # In the weight's own layout: the fused optimizer goes through both as they lie in memory.
                "exp_avg": torch.empty_like(weight).copy_(state[f"exp_avg/{name}"]),
                "exp_avg_sq": torch.empty_like(weight).copy_(state[f"exp_avg_sq/{name}"]),
            }
        return True

    def advance(self, loss_of_step: LossOfStep, spent: float) -> Float[torch.Tensor, ""]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * lr_at(self.step, config, spent)
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.bf16):
            loss = loss_of_step(self.network, generator_of_step(config, self.step, self.rank))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # Before the clipping, so that all processes clip the same gradient.
        if config.exchange == 1:
            average([w.grad for w in self.weights if w.grad is not None], self.size)
        torch.nn.utils.clip_grad_norm_(self.weights, config.clip)
        self.optimizer.step()
        decay = average_decay(self.step, config)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1.0 - decay)  # pyright: ignore
        self.step += 1
        return loss.detach()

    def exchange(self, due: bool) -> bool:
        """Average the weights where it is time to; return whether a checkpoint, due by the first clock, is to be saved.

        The processes then average what a checkpoint holds, so that all continue from what it would resume.
        """
        if self.size == 1 or self.config.exchange == 1:
            return due
        if self.step % self.config.exchange and self.step < self.config.steps:
            return False
        # In the same exchange: processes whose clocks differ must not wait for each other at different places.
        flag = torch.tensor([float(due and self.rank == 0)], device=self.weights[0].device)
        average([*self.weights, flag], self.size)
        if agreed := bool(flag > 0):
            moments = [self.optimizer.state[w][k] for w in self.weights for k in ("exp_avg", "exp_avg_sq")]
            average([*moments, *self.average], self.size)
        return agreed


def _finite(losses: list[torch.Tensor], step: int, config: FitConfig) -> list[float]:
    """Return the losses of the last steps, up to `step`, as numbers.

    Raises:
        FloatingPointError: one is not finite.
    """
    values = torch.stack(losses).tolist()
    for index, value in enumerate(values):
        if not math.isfinite(value):
            at = step - len(values) + index + 1
            raise FloatingPointError(f"loss is {value} at step {at}; the last checkpoint is in {config.out}")
    return values


def fit(
    network: NetworkT,
    loss_of_step: LossOfStep[NetworkT],
    config: FitConfig,
    report: Callable[[str], object],
    describe: Callable[[float], str] = lambda loss: f"loss {loss:.4f}",
    saved: Callable[[int], object] = lambda step: None,
) -> None:
    """Train a network in place; at the end its weights are the moving average.

    Args:
        network: the module to train, moved to `config.device`.
        loss_of_step: returns the scalar loss of one step, drawing from the generator that it is given.
        config: how long and how fast; an existing checkpoint in `config.out` is resumed.
        report: called with a line of progress about every ten seconds.
        describe: writes the mean loss in that line.
        saved: called with the step after each checkpoint, by the process that has written it; must draw from no
            generator of its own process's but new ones.

    Raises:
        FloatingPointError: where the loss is not finite; the last checkpoint stays.
        InterruptedRun: SIGINT or SIGTERM came; the state is saved. Several processes end at once instead.
        UserError: another process trains in the folder, or its checkpoint is damaged or of another network.
    """
    make_folder(config.out)
    if int(os.environ.get("RANK", "0")) == 0:
        refuse_foreign(config.out)
    # On a card cuDNN adds some gradients of float32 weights in any order otherwise: a run is to repeat to the bit.
    torch.backends.cudnn.deterministic = True
    network.to(config.device)
    run = _Run(network, config)
    with contextlib.ExitStack() as stack:
        if run.rank == 0:
            lock = lock_folder(config.out, f"run '{config.out}'", "choose another --out")
            stack.callback(lock.release)
            sweep(config.out)
            mark(config.out)
        # Processes that stopped at different steps would wait for each other for ever.
        stop = stack.enter_context(stop_on_signals()) if run.size == 1 else threading.Event()
        _train(run, loss_of_step, report, describe, saved, stop)
    with torch.no_grad():
        for weight, mean in zip(run.weights, run.average, strict=True):
            weight.copy_(mean)


def _train(
    run: _Run,
    loss_of_step: LossOfStep[Any],
    report: Callable[[str], object],
    describe: Callable[[float], str],
    saved: Callable[[int], object],
    stop: threading.Event,
) -> None:
    """Take the steps of a run from its checkpoint on; arguments as of `fit`, and the event that ends it."""
    config = run.config
    if run.load():
        report(f"resumed at step {run.step}")
    if run.rank == 0:
        forget_after(config.out / "log.jsonl", run.step)
    saved_at = reported = time.monotonic()
    recent: list[float] = []
    unread: list[torch.Tensor] = []
    started, first, spent = time.monotonic(), run.step, 0.0
    while run.step < config.steps and spent < 1.0:
        # Losses stay on the device until some are read together.
        unread.append(run.advance(loss_of_step, spent))
        now = time.monotonic()
        spent = (now - started) / (60.0 * config.limit) if config.limit else 0.0
        last = run.step == config.steps or spent >= 1.0
        telling = run.rank == 0 and (now - reported > 10.0 or last)
        due = now - saved_at > 60.0 * config.minutes
        if config.device == "cpu" or telling or due or stop.is_set() or len(unread) >= LOOK_EVERY:
            recent += _finite(unread, run.step, config)
            unread = []
        if telling:
            speed = (run.step - first) / (now - started)
            left = config.limit * (1.0 - spent) if config.limit else (config.steps - run.step) / speed / 60.0
            mean = sum(recent) / len(recent)
            report(f"step {run.step}/{config.steps}  {describe(mean)}  {speed:.2f} steps/s  {left:.0f} min left")
            with (config.out / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": run.step, "loss": mean}) + "\n")
            reported, recent = now, []
        if stop.is_set() and not last:
            run.save()
            report("the same command resumes the training")
            raise InterruptedRun(getattr(stop, "number", signal.SIGINT), "training", run.step)
        if run.exchange(due=due):
            run.save()
            if run.rank == 0:
                saved(run.step)
            saved_at = time.monotonic()
    run.save()
    if run.rank == 0:
        saved(run.step)
    if run.size > 1:
        dist.barrier()  # the others stay until what the first one writes is whole
