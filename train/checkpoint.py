"""Checkpoints of training: one file of tensors with the step and their SHA-256; a damaged one is refused in words."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import check_ordinary, read_ordinary, replace_file

NAME = "checkpoint.safetensors"
"""Of the file with the tensors."""

REMEDY = "put back what was there, or begin anew in another folder"


MARK = "training.json"
"""Of the file that makes a folder one of training."""

_FORMAT = {"format": "tgm-training-1"}


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder in which training would replace files that it has not written.

    Raises:
        UserError: it holds a file of a name that training writes, and neither its mark nor a checkpoint of it.
    """
    if _is_marked(folder) or _has_step(folder / NAME):  # earlier versions made no mark
        return
    names = (MARK, NAME, "ema.safetensors", "checkpoint.json", "log.jsonl")
    for path in (*(folder / name for name in names), *sorted(folder.glob("samples-*.png"))):
        if path.exists():
            raise UserError(f"'{path}' exists, and no run of training is in its folder; choose another --out")


def mark(folder: Path) -> None:
    """Make a folder one of training, for good."""
    if not _is_marked(folder):
        replace_file(folder / MARK, json.dumps(_FORMAT) + "\n")


def _is_marked(folder: Path) -> bool:
    try:
        return parse_value(read_ordinary(folder / MARK, 1000)) == _FORMAT
    except (OSError, ValueError):
        return False


def _has_step(path: Path) -> bool:
    """Return whether a file is a checkpoint, damaged or not, as `write_checkpoint` writes it."""
    try:
        check_ordinary(path)
        with safe_open(path, "pt") as file:
            return "step" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def write_checkpoint(folder: Path, tensors: Mapping[str, torch.Tensor], step: int) -> None:
    """Write a checkpoint after a step; a process that is killed meanwhile leaves the one before."""
    # The step is in the same file as the weights: a kill between two files cannot tear them apart. One entry for step
    # and digest, since several would be written in a random order.
    replace_file(folder / NAME, save(dict(tensors), {"step": f"{step} {_digest(tensors)}"}))


def read_checkpoint(folder: Path, expected: Mapping[str, torch.Tensor]) -> tuple[int, dict[str, torch.Tensor]] | None:
    """Return step and tensors of a folder's checkpoint; None where there is none.

    Args:
        folder: of the run.
        expected: tensors of the same names and shapes as the checkpoint's.

    Raises:
        UserError: it is damaged, or that of another network.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        words, tensors = metadata["step"].split(), load_file(path)
        step = int(words[0])
    except (OSError, SafetensorError, ValueError, LookupError) as error:
        raise UserError(f"checkpoint '{path}': expected one of this program, got {error!s:.200}; {REMEDY}") from error
    for name in sorted({*expected, *tensors}):
        shapes = [tuple(state[name].shape) if name in state else "none" for state in (expected, tensors)]
        if shapes[0] != shapes[1]:
            raise UserError(f"checkpoint '{path}': {name:.80}: expected {shapes[0]}, got {shapes[1]}; {REMEDY}")
    # Checkpoints of earlier versions have no digest.
    if step < 0 or (len(words) > 1 and words[1] != _digest(tensors)):
        raise UserError(f"checkpoint '{path}' is not what was written (SHA-256): {REMEDY}")
    return step, tensors


def forget_after(log: Path, step: int) -> None:
    """Drop the lines of a log that are of steps after a checkpoint: they are taken, and logged, again."""
    if not log.is_file():
        return
    past = []
    for line in log.read_text("utf-8", "replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                past.append(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # half a line, that of a process which was killed as it wrote
    replace_file(log, "".join(f"{line}\n" for line in past))


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
