import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.engines import hardware as machine
from runtime.engines.backends import results
from runtime.engines.backends.results import (
    BACKENDS,
    DEVICES,
    PROVIDERS,
    VerificationResult,
    cache_folder,
    failed,
    read_results,
    results_file,
    write_results,
)
from runtime.errors import UserError

DIGEST = "0123456789abcdef" * 4
GOOD = VerificationResult(
    role="denoiser", provider="value", backend="ort", device="cpu", precision="int8",
    passed=True, max_error=0.07, snr_db=40.9, cosine=0.9992, milliseconds=10.5,
)  # fmt: skip
BAD = replace(GOOD, backend="tensorrt", device="cuda", precision="float16", passed=False, cosine=0.14, snr_db=1.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TGM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_bundle_that_was_never_verified_has_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "machine_key", lambda: pytest.fail("the machine need not be asked"))
    assert read_results(DIGEST) == []
    assert failed(DIGEST) == []


def test_what_is_written_is_read() -> None:
    assert write_results(DIGEST, [GOOD, BAD]) == results_file(DIGEST)
    assert read_results(DIGEST) == [GOOD, BAD]
    assert failed(DIGEST) == [BAD]
    assert failed(DIGEST, ["ort", "torch"]) == []
    assert read_results(DIGEST[::-1]) == []


_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_RESULTS = st.builds(
    VerificationResult,
    role=st.from_regex(r"[a-z_]{1,20}", fullmatch=True),
    provider=st.sampled_from(PROVIDERS),
    backend=st.sampled_from([*BACKENDS]),
    device=st.sampled_from(DEVICES),
    precision=st.sampled_from(["float32", "int8"]),
    passed=st.booleans(),
    max_error=_NUMBERS,
    snr_db=_NUMBERS,
    cosine=_NUMBERS,
    milliseconds=_NUMBERS,
)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the checks of types draw from it
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_RESULTS, unique_by=lambda result: result.key, max_size=6))
def test_any_results_survive_the_round_trip(known: list[VerificationResult]) -> None:
    results_file(DIGEST).unlink(missing_ok=True)
    write_results(DIGEST, known)
    assert sorted(read_results(DIGEST), key=lambda v: v.key) == sorted(known, key=lambda v: v.key)


def test_figures_that_are_not_finite_are_no_numbers_again() -> None:
    write_results(DIGEST, [replace(BAD, max_error=math.inf, snr_db=-math.inf, cosine=math.nan)])
    assert "Infinity" not in results_file(DIGEST).read_text()
    (found,) = read_results(DIGEST)
    assert [math.isnan(x) for x in (found.max_error, found.snr_db, found.cosine)] == [True] * 3
    assert not found.passed


def test_a_new_result_takes_the_place_of_the_old_one_alone() -> None:
    write_results(DIGEST, [GOOD, BAD])
    write_results(DIGEST, [replace(BAD, passed=True, cosine=0.9999)])
    assert {v.backend: v.passed for v in read_results(DIGEST)} == {"ort": True, "tensorrt": True}


@pytest.mark.parametrize("what", ["processor_name", "gpu_names", "package_version"])
def test_another_machine_s_results_are_ignored(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(DIGEST, [BAD])
    monkeypatch.setattr(machine, what, (lambda: ("other",)) if what == "gpu_names" else lambda *name: "other")
    assert read_results(DIGEST) == []
    write_results(DIGEST, [GOOD])
    monkeypatch.undo()


def test_machines_keep_their_own_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(DIGEST, [BAD])
    with monkeypatch.context() as patch:
        patch.setattr(machine, "processor_name", lambda: "another")
        write_results(DIGEST, [GOOD])
    assert len(list((cache / "verification").iterdir())) == 2
    assert read_results(DIGEST) == [BAD]


def _document(**changes: object) -> dict:
    entry = {**results._to_json(GOOD), **changes}
    return {"format": 1, "results": [{k: v for k, v in entry.items() if v is not None}]}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("", "expected a JSON object"),
        ({"format": 2, "results": []}, "newer version"),
        ({"format": 1}, "'results' is missing"),
        ({"format": 1, "results": [1]}, r"results\[0\]: expected an object"),
        ({"format": 1, "results": [], "more": 1}, "unknown field 'more'"),
        ({"format": 1, "results": _document()["results"] * 2}, "expected one result for each thing"),
        (_document(passed="yes"), "field 'passed': expected bool"),
        (_document(passed=None), "'passed' is missing"),
        (_document(provider="guess"), "field 'provider'"),
        (_document(backend="abacus"), "field 'backend'"),
        (_document(device="tpu"), "field 'device'"),
        (_document(role="../../x"), "field 'role'"),
        (_document(precision=""), "field 'precision'"),
        (_document(cosine="1"), "field 'cosine'"),
        (_document(cosine=None), "figures of a network that passed"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_the_remedy(document: object, named: str) -> None:
    path = results_file(DIGEST)
    path.parent.mkdir(parents=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(UserError, match=named) as caught:
        read_results(DIGEST)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; delete the file, or run python -m export verify again")
    write_results(DIGEST, [GOOD])
    assert read_results(DIGEST) == [GOOD]


def test_a_writer_that_dies_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    write_results(DIGEST, [GOOD])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_results(DIGEST, [BAD])
    assert read_results(DIGEST) == [GOOD]
    assert len(list((cache / "verification").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TGM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="TGM_CACHE"):
        write_results(DIGEST, [GOOD])


@pytest.mark.parametrize("digest", ["", "x" * 64, "../" + "0" * 61, "A" * 64])
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        read_results(digest)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    monkeypatch.setenv("HOME", "/home/one")
    monkeypatch.setenv("TGM_CACHE", "/own")
    assert cache_folder() == Path("/own")
    monkeypatch.setenv("TGM_CACHE", "own")
    assert cache_folder() == Path.cwd() / "own"
    monkeypatch.delenv("TGM_CACHE")
    assert cache_folder() == Path("/shared/tgm")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path("/home/one/.cache/tgm")


def test_asking_costs_no_heavy_import() -> None:
    code = (
        "import sys; from runtime.engines.backends import results; results.failed('0' * 64); "
        "print([m for m in ('torch', 'onnxruntime', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
