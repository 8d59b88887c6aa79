"""The containers' files: what they start is what the commands and the server take."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.command.options import parse_options
from serving.commands.up import Up
from serving.triton.hosted import THREADS, WORK
from serving.triton.server import STACK_KIB, TritonServer, environment_folder

FOLDER = Path(__file__).parents[2] / "serving"


@pytest.fixture
def services() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"]


def test_the_gateway_is_a_command_that_there_is(services) -> None:
    words = shlex.split(services["gateway"]["command"])
    assert words[:4] == ["python3", "-m", "serving", "up"]
    options = parse_options(Up, "serving up", arguments=words[4:])
    assert options.repository == Path("/repository") and options.triton == "8000,8001"
    assert str(options.store) == services["triton"]["environment"][WORK], "both sides see a job's folder"
    assert options.host == "127.0.0.1" and options.probe_minutes > 0
    assert int(services["triton"]["environment"][THREADS]) >= 1


def test_the_server_has_the_options_of_the_one_that_is_tested(services, tmp_path: Path) -> None:
    def names(words: list[str]) -> set[str]:
        return {word.partition("=")[0] for word in words if word.startswith("--")}

    words = shlex.split(services["triton"]["command"])
    ours = TritonServer(tmp_path, tmp_path, environment_folder())
    assert words[0] == "tritonserver"
    assert names(words) <= names(ours.options(tmp_path, tmp_path))
    for kind in ("http", "grpc", "metrics"):
        assert f"--{kind}-address=127.0.0.1" in words
    assert services["triton"]["ulimits"]["stack"] == STACK_KIB * 1024
    assert services["gateway"]["pid"] == "service:triton", "the gateway looks for the models' processes"


def test_nothing_but_the_page_is_open_and_the_repository_is_read_only(services) -> None:
    for service in services.values():
        assert "ports" not in service and service["network_mode"] == "host"
        mounts = dict(mount.split(":", 1) for mount in service["volumes"])
        assert mounts["../repository"] == "/repository:ro" and mounts["served"] == "/served"


def test_the_image_has_a_python_that_the_package_runs_on(services) -> None:
    """Releases of NVIDIA's container have Python 3.12 from 24.11 on, 3.10 before."""
    import tomllib

    first, copy, install = services["triton"]["build"]["dockerfile_inline"].strip().splitlines()
    release = first.rpartition(":")[2].removesuffix("-py3")
    assert first.startswith("FROM nvcr.io/nvidia/tritonserver:") and tuple(map(int, release.split("."))) >= (24, 11)
    folder = copy.removeprefix("COPY . ")
    assert folder.startswith("/opt/") and f"{folder}[serving]" in install
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert "serving" in project["optional-dependencies"] and project["requires-python"] == ">=3.11"


def test_gpus_are_asked_for_in_a_file_of_their_own(services) -> None:
    more = yaml.safe_load((FOLDER / "compose.gpu.yaml").read_text("utf-8"))["services"]
    assert set(more) <= set(services) and "deploy" not in services["triton"]
    (device,) = more["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_docker_takes_them(files: list[str]) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs docker compose")
    words = [word for file in files for word in ("-f", str(FOLDER / file))]
    done = subprocess.run(
        [docker, "compose", *words, "config", "-q"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
