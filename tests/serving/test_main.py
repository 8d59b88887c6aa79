"""The commands of `python -m serving`, as a user types them."""

import re
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from runtime.command.seeds import parse_seeds
from runtime.errors import UserError
from serving.__main__ import SUBCOMMANDS, main
from serving.client import Client, parse_stream
from serving.commands import submit as submit_command
from serving.commands.studio import Studio, run_studio, studio_setup
from serving.commands.submit import Submit, given_options, seeds_of, value_of
from serving.methods import Served, served_methods
from tests.serving.live import gateway

ROOT = Path(__file__).parents[2]


def test_it_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    for name in SUBCOMMANDS:
        assert f"python -m serving {name}" in printed
    with pytest.raises(UserError, match="expected one of studio"):
        main(["nothing"])


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from serving.__main__ import main\ntry: main(['studio', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'onnxruntime', 'uvicorn', 'grpc'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--store PATH" in done.stdout


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", [0]), ("0-3", [0, 1, 2, 3]), ("1,5,9", [1, 5, 9]), ("2-3,7", [2, 3, 7])]
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0-100000", "1,,2"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--seeds: expected"):
        parse_seeds(text)


def test_values() -> None:
    assert [value_of(text) for text in ("3", "true", "[1, 2]", "top", "1.5")] == [3, True, [1, 2], "top", 1.5]


def test_submit_waits_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys = served_methods(["tests.serving.toy"])
    monkeypatch.setattr(submit_command, "served_methods", lambda: toys)
    (tmp_path / "photo.png").write_bytes(b"123")
    with gateway(tmp_path / "store") as (server, _):
        words = ["submit", "a word", "--method", "toy", "--server", server.url, "--out", str(tmp_path)]
        words += ["--set", "steps=3", f"picture=@{tmp_path / 'photo.png'}", "--seeds", "1-2", "--wait"]
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert printed.count("/job/") == 2 and "toy-1.svg" in printed
        assert {path.name for path in tmp_path.glob("toy-*")} == {"toy-1.svg", "toy-1.txt", "toy-2.svg", "toy-2.txt"}
        assert main(words) == 0, "the same again"
        (tmp_path / "toy-1.svg").write_text("somebody's own")
        with pytest.raises(UserError, match=r"toy-1.svg' exists and is something else"):
            main(words)
        for wrong, message in [
            (["--set", "nothing=3"], "--set: expected NAME=VALUE"),
            (["--set", "steps=0"], "--steps: expected 1 to 100000"),
            (["--set", "picture=@none.png"], "'none.png': expected a file"),
            (["--method", "none"], "method: expected one of toy"),
            (["--out", str(tmp_path / "none"), "--wait"], "expected a folder"),
        ]:
            with pytest.raises(UserError, match=message):
                main(["submit", "x", "--method", "toy", "--server", server.url, *wrong])
        assert main(["submit", "--method", "toy", "--server", server.url, "--set", "die=fail", "--wait"]) == 1
        assert "a mistake of the method" in capsys.readouterr().err


class Sent:
    """Stands for a client, and notes what is sent."""

    def send(self, path: Path) -> str:
        return f"sent {path.name}"


def test_words_pictures_and_folders_are_sent_as_the_method_takes_them(tmp_path: Path) -> None:
    methods = served_methods()
    (tmp_path / "mug.png").write_bytes(b"1")
    given = given_options(Submit(subject=str(tmp_path / "mug.png")), methods["lift"], Sent())
    assert given == {"prompt": "sent mug.png"}
    assert given_options(Submit(subject="a mug"), methods["lift"], Sent()) == {"prompt": "a mug"}
    # Of a method that takes words alone a file's name is words.
    path = str(tmp_path / "mug.png")
    assert given_options(Submit(subject=path), methods["vectorfusion"], Sent()) == {"prompt": path}
    given = given_options(Submit(subject=str(tmp_path), set=("views=8",)), methods["nerf"], Sent())
    assert given == {"capture": f"sent {tmp_path.name}", "views": 8}


def test_a_method_without_chance_gets_no_seed() -> None:
    served = served_methods(["tests.serving.toy"])["toy"]
    assert seeds_of(Submit(seeds="0-2"), served) == [0, 1, 2]
    plain = Served("plain", served.home, replace(served.method, config=Plain))
    assert seeds_of(Submit(), plain) == [None]
    with pytest.raises(UserError, match="--seeds: plain draws nothing by chance"):
        seeds_of(Submit(seeds="0-2"), plain)


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Options of a method that draws nothing by chance."""

    out: Path | None = None
    """File."""


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"does not answer .* python -m serving studio"):
        main(["submit", "x", "--server", f"http://127.0.0.1:{port}"])


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, '{"error": "authorization: expected a token"}', "expected a token; set TGM_TOKEN to the secret"),
        (404, "<html>nothing here</html>", "expected JSON, got status 404; is it ours"),
        (500, "[1]", "expected JSON, got status 500"),
        (200, "<html>another page</html>", "expected JSON, got something else; is it ours"),
    ],
)
def test_answers_of_another_server_and_without_a_token(status: int, body: str, message: str) -> None:
    with Client("http://127.0.0.1:1") as client:
        client.http.close()
        client.http = httpx.Client(
            base_url="http://127.0.0.1:1", transport=httpx.MockTransport(lambda _: httpx.Response(status, text=body))
        )
        with pytest.raises(UserError, match=message):
            client.submit({})


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = Studio(port=taken.getsockname()[1], store=tmp_path / "store")
        with pytest.raises(UserError, match=r"--port .* cannot be opened"):
            run_studio(options)
    assert not (tmp_path / "store").exists()


def test_a_studio_offers_every_method(tmp_path: Path) -> None:
    setup = studio_setup(Studio(store=tmp_path, jobs=3, threads=2))
    assert {"vectorfusion", "lmconv_complete"} <= set(setup.served)
    assert len(setup.lanes) == 3 and setup.placed.threads == 2 and setup.address.host == "127.0.0.1"


def test_streams_are_read_line_by_line() -> None:
    text = ': open\n\nid: 3\nevent: step\ndata: {"a": "b: c"}\n\n: \n\nid: 4\nevent: done\ndata: {}\n\n'
    events = list(parse_stream(iter(text.split("\n"))))
    assert events == [{"a": "b: c", "n": 3, "kind": "step"}, {"n": 4, "kind": "done"}]


def test_each_yes_in_the_table_of_systems_names_a_test_that_is_there() -> None:
    folder = Path(__file__).parent
    text = (ROOT / "serving" / "README.md").read_text("utf-8").partition("## Beside others")[2]
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
    ours, named = head.index("this"), head.index("tested by")
    for row in rows:
        tests = re.findall(r"`([^`]*)::([^`]*)`", row[named])
        assert tests or row[ours] == "n", row[0]
        for file, name in tests:
            assert f"def {name}(" in (folder / file).read_text("utf-8"), (row[0], name)
