"""What a command is called in its help and its messages: as the user typed it."""

from contextvars import ContextVar

STARTED_BY_TGM: ContextVar[bool] = ContextVar("started_by_tgm", default=False)
"""Whether the console script `tgm` started this process; only `runtime.command.tgm` sets it."""


def program_name(module: str) -> str:
    """Return what runs a module: `tgm train lmconv` where `tgm` was started, else `python -m train.lmconv`.

    Args:
        module: full name, such as "runtime.vectorfusion", "train.lmconv" or "export".
    """
    if not STARTED_BY_TGM.get():
        return f"python -m {module}"
    room, _, name = module.partition(".")
    return f"tgm {name}" if room == "runtime" and name else f"tgm {room} {name}".rstrip()
