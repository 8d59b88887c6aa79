"""Batches on real worker processes, and, where Ray is installed, on two nodes of which one is killed."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from serving.batch import RESULTS, Batch, finished_rows, read_rows
from serving.bundles import Offers
from serving.commands.batch import Batch as Options
from serving.commands.batch import run_batch
from serving.lanes import ProcessLane
from serving.work import place_files
from tests.serving.conftest import TOY, until
from tests.serving.test_pool import whole

ROOT = Path(__file__).parents[2]


def rows_of(folder: Path, text: str, served, name: str = "requests.jsonl", seeds=(0,)):
    (folder / name).write_text(text)
    return read_rows(folder / name, served, Offers(), "toy", seeds)


def test_lines_are_requests(tmp_path: Path, served) -> None:
    (tmp_path / "photo.png").write_bytes(b"12345")
    text = (
        '{"options": {"text": "a"}}\n\n# a remark\n{"method": "toy", "options": {"seed": 7}}\n'
        '{"options": {"text": "a"}}\n{"options": {"picture": "photo.png"}}\n'
    )
    rows = rows_of(tmp_path, text, served, seeds=(1, 2))
    assert [(row.number, row.request.values["seed"]) for row in rows] == [(1, 1), (1, 2), (4, 7), (6, 1), (6, 2)]
    assert rows[-1].request.files["picture"].sha256 == hashlib.sha256(b"12345").hexdigest()


def test_a_folder_of_photos_is_a_file_of_a_line(tmp_path: Path) -> None:
    from serving.methods import served_methods

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "transforms.json").write_text("{}")
    (tmp_path / "requests.jsonl").write_text('{"method": "nerf", "options": {"capture": "photos", "views": 4}}\n')
    (row,) = read_rows(tmp_path / "requests.jsonl", served_methods(), Offers(), "nerf", (0,))
    assert row.request.files["capture"].name == "photos.zip"
    placed = place_files(row.request, row.files, tmp_path / "job")
    assert Path(placed["capture"]).name == "photos" and (Path(placed["capture"]) / "transforms.json").is_file()
    (tmp_path / "photos" / "transforms.json").write_text("changed meanwhile")
    with pytest.raises(UserError, match="is not what was sent"):
        place_files(row.request, row.files, tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "line 1: expected a JSON object"), ('{"options": {"steps": 0}}', "line 1: --steps: expected 1"),
     ('{"options": {}}\n[]', "line 2: expected a JSON object"), ("", "expected at least one prompt"),
     ('{"method": "none"}', "line 1: method: expected one of toy"),
     ('{"options": {"out": "a.svg"}}', "options: expected some of .*; got 'out'"),
     ('{"options": {"picture": "none.png"}}', "none.png': expected a file")],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, served, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path, text, served)


def test_a_file_without_end_is_refused(tmp_path: Path, served) -> None:
    with (tmp_path / "long.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    for path in (tmp_path / "long.jsonl", Path("/dev/zero")):
        with pytest.raises(UserError, match="expected a text file of prompts or of JSON, got none"):
            read_rows(path, served, Offers(), "toy", (0,))


def test_prompts_are_lines_of_text(tmp_path: Path) -> None:
    from serving.methods import served_methods

    (tmp_path / "prompts.txt").write_text("a red apple\na cat\n")
    rows = read_rows(tmp_path / "prompts.txt", served_methods(), Offers(), "vectorfusion", (0, 1))
    assert [row.request.values["prompt"] for row in rows] == ["a red apple", "a red apple", "a cat", "a cat"]


def test_a_log_of_others_is_neither_written_to_nor_believed(tmp_path: Path, served) -> None:
    rows = rows_of(tmp_path, "{}\n", served)
    (tmp_path / RESULTS).write_text('{"loss": 1}\n{"id": "')
    with pytest.raises(UserError, match=r"results.jsonl' exists, and no batch has written it; choose another --out"):
        Batch(tmp_path, rows, served, Offers())
    assert (tmp_path / RESULTS).read_text() == '{"loss": 1}\n{"id": "' and not (tmp_path / "runs").exists()
    (tmp_path / RESULTS).write_text('{"id')  # killed as it wrote its first line
    assert len(Batch(tmp_path, rows, served, Offers()).left) == 1


def test_a_drawing_that_was_changed_stays_beside_the_new_one(tmp_path: Path, served) -> None:
    rows, out = rows_of(tmp_path, "{}\n", served), tmp_path / "out"
    batch = Batch(out, rows, served, Offers())
    result = out / "runs" / rows[0].name / "run" / "result"

    def finish(content: str) -> str:
        result.mkdir(parents=True)
        (result / "toy.svg").write_text(content)
        batch.finish(rows[0], "done", {"outputs": [{"name": "toy.svg", "sha256": "0", "size": 1}]})
        return parse_value((out / RESULTS).read_bytes().splitlines()[-1])["outputs"][0]["file"]

    first = finish("a")
    (out / first).write_text("mine")
    second = finish("a")
    assert ((out / first).read_text(), (out / second).read_text()) == ("mine", "a") and first != second
    assert finish("a") == second


def test_a_killed_worker_a_stop_and_the_rest_the_next_time(tmp_path: Path, served) -> None:
    text = "".join(f'{{"options": {{"seed": {seed}, "steps": 40, "pause_s": 0.02}}}}\n' for seed in range(4))
    text += '{"options": {"die": "fail"}}\n'
    rows, out = rows_of(tmp_path, text, served), tmp_path / "out"
    lane, stop = ProcessLane("worker", TOY), threading.Event()
    batch = Batch(out, rows, served, Offers())
    thread = threading.Thread(target=batch.run_on_lanes, args=([lane], stop))
    thread.start()
    run = out / "runs" / rows[0].name / "run"
    until(run.is_dir)
    time.sleep(0.3)
    os.kill(lane.pid or 0, signal.SIGKILL)
    until((out / RESULTS).is_file)
    stop.set()
    thread.join(30.0)
    assert rows[0].name in finished_rows(out) and len(finished_rows(out)) < 4
    with (out / RESULTS).open("a") as log:
        log.write('{"id": "cut in ha')
    rest = Batch(out, rows, served, Offers())
    assert rest.skipped >= 1
    rest.run_on_lanes([lane], threading.Event())
    lane.close()
    done = finished_rows(out)
    assert len(done) == 4 and rest.failed == 1
    assert "a mistake of the method" in (out / RESULTS).read_text()
    for row in rows[:4]:
        files = {Path(f["file"]).suffix: (out / f["file"]).read_bytes() for f in done[row.name]["outputs"]}
        assert files == {Path(n).suffix: c for n, c in whole(row.request, tmp_path / row.name).items()}
    assert not (out / "runs" / rows[0].name).exists()
    assert [row.name for row in Batch(out, rows, served, Offers()).left] == [rows[4].name]
    (out / done[rows[1].name]["outputs"][0]["file"]).write_text("edited")
    assert len(Batch(out, rows, served, Offers()).left) == 2, "what was changed is drawn again"


def test_ray_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "prompts.txt").write_text("a cat\n")
    with pytest.raises(UserError, match="pip install ray"):
        run_batch(Options(file=tmp_path / "prompts.txt", out=tmp_path / "out", ray="auto"))


RAY = os.environ.get("TGM_RAY", sys.executable)
"""Python that has Ray; it may live in an environment of its own."""

CODE = """
import sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from serving.batch import Batch, read_rows, run_on_ray
from serving.bundles import Offers
from serving.methods import served_methods
folder, house = Path(sys.argv[1]), sys.argv[2]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20})
second = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
ray.init(address=cluster.address, runtime_env={"env_vars": {"PYTHONPATH": house}}, log_to_driver=False)
served = served_methods(["tests.serving.toy"])
batch = Batch(folder / "out", read_rows(folder / "requests.jsonl", served, Offers(), "toy", (0,)), served, Offers())
def kill():
    runs = folder / "out" / "runs"
    while not list(runs.glob("*/run/checkpoint.json")) or len(list(runs.glob("*/run"))) < 2:
        time.sleep(0.05)
    time.sleep(1.0)
    cluster.remove_node(second, allow_graceful=False)
    print("killed", flush=True)
threading.Thread(target=kill, daemon=True).start()
run_on_ray(batch, ray)
print("failed", batch.failed)
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
def test_two_nodes_of_ray_one_of_them_killed(tmp_path: Path, served) -> None:
    if subprocess.run([RAY, "-c", "import ray"], capture_output=True, check=False).returncode:
        pytest.skip("needs Ray: pip install ray, or TGM_RAY names a Python that has it")
    text = "".join(f'{{"options": {{"seed": {seed}, "steps": 150, "pause_s": 0.05}}}}\n' for seed in range(6))
    rows = rows_of(tmp_path, text, served)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(
        [RAY, "-c", CODE, str(tmp_path), str(ROOT)], capture_output=True, text=True, timeout=400, env=environment,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "killed" in done.stdout and "failed 0" in done.stdout
    finished = finished_rows(tmp_path / "out")
    assert len(finished) == 6
    for row in rows:
        files = [(tmp_path / "out" / file["file"]).read_bytes() for file in finished[row.name]["outputs"]]
        assert files == list(whole(row.request, tmp_path / row.name).values())
