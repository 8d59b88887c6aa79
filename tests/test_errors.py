"""How a command ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import CLOSED_PIPE, NO_MEMORY, NO_OUTPUT, UserError, printable, run_main

ROOT = Path(__file__).parents[1]


def code_of(main) -> object:
    with pytest.raises(SystemExit) as end:
        run_main(main)
    return end.value.code


def test_the_code_is_that_of_the_main_function() -> None:
    assert code_of(lambda: None) == 0
    assert code_of(lambda: 3) == 3
    assert code_of(lambda: sys.exit(5)) == 5


def test_a_users_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise UserError("--steps: expected 1, got 0")

    assert code_of(main) == 2
    assert capsys.readouterr().err == "error: --steps: expected 1, got 0\n"


@pytest.mark.parametrize(
    "body",
    [
        "[print('x' * 100) for _ in range(100_000)]",  # while it prints
        "print('x'); import time; time.sleep(0.5)",  # at the end
        "[print('x', flush=True) or time.sleep(0.1) for time in [__import__('time')] for _ in range(9)]",
        "print('x'); import time; time.sleep(0.5); sys.exit(0)",  # as --help ends
    ],
)
def test_a_closed_pipe_ends_it_quietly(body: str) -> None:
    code = f"import sys; from runtime.errors import run_main\ndef main():\n    {body}\nrun_main(main)"
    command = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()
    with command.stderr as errors:
        assert errors.read() == ""
    assert command.wait() == CLOSED_PIPE


def test_another_broken_pipe_is_told() -> None:
    code = "from runtime.errors import run_main\ndef main():\n    raise BrokenPipeError('of a worker')\nrun_main(main)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "of a worker" in done.stderr


def run_body(body: str, **options) -> subprocess.CompletedProcess:
    code = f"import sys; from runtime.errors import UserError, run_main\ndef main():\n    {body}\nrun_main(main)"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, **options)


AT_THE_END = """
class Loaded:
    def __del__(self):
        print('taken apart')
loaded = Loaded()
"""


@pytest.mark.parametrize(
    ("options", "is_taken_apart"),
    [((), False), (("-X", "dev"), True), (("-m", "cProfile", "-o", os.devnull), True)],
)
def test_a_command_ends_without_being_taken_apart(
    options: tuple[str, ...], is_taken_apart: bool, tmp_path: Path
) -> None:
    """Threads have ended and what is registered has run by then; whoever watches the program comes after it."""
    program = tmp_path / "program.py"
    program.write_text(
        AT_THE_END + "import atexit, sys, threading, time\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from runtime.errors import run_main\n"
        "def later():\n    time.sleep(0.3)\n    print('thread')\n"
        "def main():\n    threading.Thread(target=later).start()\n    atexit.register(print, 'atexit')\n    return 3\n"
        "run_main(main)\n"
    )
    done = subprocess.run([sys.executable, *options, str(program)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line in {"thread", "atexit", "taken apart"}]
    assert lines[:2] == ["thread", "atexit"]
    assert ("taken apart" in lines) == is_taken_apart
    if options[:1] != ("-m",):  # profilers have exit codes of their own
        assert done.returncode == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    "body", ["print('x')", "print('x' * 100_000)", "print('x', flush=True)", "print('x'); raise SystemExit(0)"]
)
def test_an_output_without_room_is_said_and_has_its_code(body: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = run_body(body, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == NO_OUTPUT
    assert done.stderr == "error: output: expected room to write it, got 'No space left on device'\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("OSError(28, 'No space left on device', 'a.svg')", 1, "error: [Errno 28] No space left on device: 'a.svg'\n"),
        ("PermissionError(13, 'Permission denied', 'a\\x1b')", 1, "error: [Errno 13] Permission denied: 'a\\x1b'\n"),
        ("FloatingPointError('loss is nan')", 1, "error: loss is nan\n"),
        ("MemoryError()", 1, f"error: {NO_MEMORY}\n"),
        ('RuntimeError("DefaultCPUAllocator: can\'t allocate memory")', 1, f"error: {NO_MEMORY}\n"),
        ("KeyboardInterrupt()", 130, "stopped\n"),
    ],
)
def test_what_the_system_refuses_and_ctrl_c_are_one_line(error: str, code: int, said: str) -> None:
    done = run_body(f"raise {error}", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("error", ["OSError('of a library')", "RuntimeError('a mistake')", "ValueError('another')"])
def test_a_mistake_of_ours_keeps_its_traceback(error: str) -> None:
    done = run_body(f"raise {error}", capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_what_an_encoding_lacks_is_written_as_escapes() -> None:
    body = "print('Käfer 🍎'); raise UserError('Käfer')"
    done = run_body(body, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        rb"K\xe4fer \U0001f34e" + b"\n",
        rb"error: K\xe4fer" + b"\n",
    )


def test_a_message_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise UserError("bundle '\x1b]0;title\x07\x1b[2J\u202e': expected\na second line, \x9b31m")

    assert code_of(main) == 2
    assert capsys.readouterr().err == (
        "error: bundle '\\x1b]0;title\\x07\\x1b[2J\\u202e': expected\na second line, \\x9b31m\n"
    )
    assert printable("Käfer 🍎\n") == "Käfer 🍎\n"
