import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.bundle import read_manifest
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.bundle.manifest import FORMAT
from runtime.engines.spec import FileSpec
from runtime.errors import UserError
from tests.bundles import MANIFEST

FULL = replace(MANIFEST, networks={"denoiser": "denoiser"}, files={"denoiser/spec.json": FileSpec(1, "0" * 64)})


def test_a_manifest_survives_the_file() -> None:
    assert DiffusionManifest.from_json(FULL.to_json().encode(), "bundle.json") == FULL


def edited(place: tuple[str, ...], value: Any) -> bytes:
    document = json.loads(FULL.to_json())
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("format",), FORMAT + 1, "from a newer version: expected format 2, got 3; "),
        (("format",), 0, "field 'format': expected 1 to 2, got 0"),
        (("surprise",), 1, "unknown field 'surprise'"),
        (("name",), "a/b", "expected a name of letters"),
        (("licence",), 3, "field 'licence': expected str, got int 3"),
        (("image_size",), 0, "field 'image_size': expected 1 to 16384, got 0"),
        (("image_size",), 10**9, "field 'image_size': expected 1 to 16384"),
        (("text_length",), -1, "field 'text_length'"),
        (("latent_scale",), 0.0, "field 'latent_scale'"),
        (("latent_shape",), [4, 16], "field 'latent_shape': expected three sizes"),
        (("latent_shape",), [4, 16, 1e3], "field 'latent_shape': expected three sizes"),
        (("schedule", "num_timesteps"), 10**12, "schedule: field 'num_timesteps': expected 1 to 100000"),
        (("schedule", "beta_start"), 0.0, "schedule: field 'beta_start'"),
        (("schedule", "beta_end"), 1e-5, "schedule: field 'beta_end'"),
        (("schedule", "beta_schedule"), "magic", "expected scaled_linear or linear, got 'magic'"),
        (("schedule", "prediction_type"), "x", "expected epsilon, v_prediction, sample, got 'x'"),
        (("kind",), "lmconv", "field 'kind': expected latent-diffusion, got 'lmconv'"),
        (("method",), "latent-diffusion", "unknown field 'method'"),
        (("defaults",), {"omega": 1}, "defaults: expected options for each method by name, got 'omega': 1"),
        (("defaults",), {"a b": {}}, "defaults: expected options for each method by name, got 'a b'"),
        (("defaults",), {"vectorfusion": {"a b": 1}}, "defaults: vectorfusion: expected option names"),
        (("defaults",), {"vectorfusion": {"omega": {"x": 1}}}, "defaults: vectorfusion: expected option names"),
        (("networks",), {"dancer": "denoiser"}, "unknown role 'dancer'"),
        (("networks",), {"denoiser": "../denoiser"}, "no file name inside a bundle"),
        (("networks",), {"denoiser": "elsewhere"}, "elsewhere/spec.json is not among the files"),
        (("networks",), {"denoiser": 1}, "expected the name of a folder, got 1"),
        (("files", "/etc/passwd"), {"size": 1, "sha256": "0" * 64}, "no file name inside a bundle"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_by_name(place: tuple[str, ...], value: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        DiffusionManifest.from_json(edited(place, value), "bundle.json")
    assert str(error.value).startswith("bundle.json")


def first_format(**changes: Any) -> bytes:
    """Return FULL as format 1 had it: no kind, and VectorFusion's defaults without its name."""
    document = json.loads(FULL.to_json()) | {"format": 1, "defaults": {"omega": 4.0}}
    del document["kind"]
    return json.dumps(document | changes).encode()


def test_the_first_format_is_read_as_the_second() -> None:
    assert read_manifest(first_format(), "bundle.json") == FULL
    assert read_manifest(first_format(method="latent-diffusion"), "bundle.json") == FULL
    assert read_manifest(first_format(defaults={}), "bundle.json").defaults == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "latent-diffusion"}, "unknown field 'kind' in format 1; expected 'method'"),
        ({"method": "magic"}, "field 'kind': expected one of latent-diffusion, lmconv, ddpm, pixelnerf, got 'magic'"),
        ({"method": ["lmconv"]}, "field 'kind': expected one of latent-diffusion, lmconv, ddpm, pixelnerf, got "),
        ({"defaults": 3}, "field 'defaults': expected dict, got int 3"),
        ({"defaults": {"a b": 1}}, "defaults: vectorfusion: expected option names"),
    ],
)
def test_the_first_format_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_manifest(first_format(**changes), "bundle.json")


def test_a_number_beyond_float_is_refused() -> None:
    text = FULL.to_json().replace('"omega": 4.0', '"omega": 1e400')
    with pytest.raises(UserError, match="defaults"):
        DiffusionManifest.from_json(text.encode(), "bundle.json")


@pytest.mark.parametrize("field", sorted(json.loads(FULL.to_json())))
def test_a_missing_field_is_named(field: str) -> None:
    document = json.loads(FULL.to_json())
    del document[field]
    with pytest.raises(UserError, match=f"'{field}'"):
        DiffusionManifest.from_json(json.dumps(document).encode(), "bundle.json")


TEXT = FULL.to_json().encode()


@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=0, max_size=3))
def test_a_manifest_with_any_bytes_changed_is_read_or_refused(at: int, new: bytes) -> None:
    try:
        DiffusionManifest.from_json(TEXT[:at] + new + TEXT[at + 1 :], "bundle.json")
    except UserError as error:
        assert str(error).startswith("bundle.json")
