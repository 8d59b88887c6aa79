import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.__main__ import main
from export.commands import verify as verify_command
from export.network import ExportedNetwork
from export.verify import bundle as verify_bundle
from export.verify.bundle import Expected, Row, format_rows, report_slowly, verify_role, worst
from export.verify.gates import GATES, Comparison, Gate
from export.verify.inputs import (
    Reference,
    TorchReferences,
    activation_bytes,
    batches_of,
    precision_of,
    reference_of,
    sizes_of,
    take_rows,
)
from export.verify.providers import Provider, gradient_of
from export.verify.stored import ROWS, BundleReferences, InDouble
from runtime.engines.backends.results import VerificationResult, failed, read_results
from runtime.engines.bundle import Bundle, DiffusionBundle
from runtime.engines.precision import Storage
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError, run_main
from tests.bundles import MANIFEST, SPECS, make_latent_encoder_module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `python -m export verify` with arguments; gives its exit code, output and error output."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["export", "verify", *arguments])
        with pytest.raises(SystemExit) as stop:
            run_main(main)
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return run


def encoder_network(seed: int) -> ExportedNetwork:
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    return ExportedNetwork(
        spec=SPECS["latent_encoder"],
        module=make_latent_encoder_module(seed),
        samples=(images,),
        storage=Storage.FLOAT32,
    )


def ignore(_line: str) -> None:
    pass


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_rows_go_around() -> None:
    spec = SPECS["denoiser"]
    samples = (torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 4, 16, 16), torch.arange(3), torch.zeros(3, 17, 384))
    assert take_rows(spec, samples, torch.arange(5))[1].tolist() == [0, 1, 2, 0, 1]
    assert take_rows(spec, samples, torch.tensor([2, 4]))[0][:, 0, 0, 0].tolist() == [2.0, 1.0]


def test_inputs_without_a_batch_stay_as_they_are() -> None:
    spec = EngineSpec(
        "x", (SPECS["latent_encoder"].inputs[0], replace(SPECS["latent_encoder"].inputs[0], shape=(5,))), ()
    )
    one, fixed = take_rows(spec, (torch.rand(2, 3, 128, 128), torch.arange(5)), torch.arange(4))
    assert len(one) == 4
    assert fixed.tolist() == [0, 1, 2, 3, 4]


def test_activations_are_counted_in_bytes() -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.Sequential(nn.ReLU(), nn.Linear(5, 2)))
    assert activation_bytes(module, (torch.zeros(7, 3),)) == 1 + 4 * 7 * (3 + 5 + 5 + 2)


def test_memory_cuts_the_greatest_batch_and_the_table_says_so() -> None:
    network = encoder_network(0)
    one = activation_bytes(network.module, (torch.zeros(1, 3, 128, 128),))
    least = reference_of(network, network.spec, Storage.FLOAT32, 10.5 * 3 * one / 2**30)
    assert sizes_of(least) == ((1, 2, 10), "10 rows of 256")
    assert sizes_of(replace(least, most=1)) == ((1, 2), "2 rows of 256")
    assert sizes_of(replace(least, most=1000)) == ((1, 2, 256), "")
    assert sizes_of(replace(least, spec=replace(network.spec, ranges={}))) == ((1,), "")


def test_every_row_comes_at_every_size_or_once_where_a_row_is_much_work() -> None:
    network = encoder_network(0)
    small = replace(reference_of(network, network.spec, Storage.FLOAT32, 1.0), most=4)
    assert [rows.tolist() for rows in batches_of(small)] == [[0], [1], [2], [0, 1], [2, 0], [0, 1, 2, 0]]
    assert [rows.tolist() for rows in batches_of(replace(small, most=2))] == [[0], [1, 2]]
    five = replace(small, most=1, samples=(torch.rand(5, 3, 128, 128),))
    assert [rows.tolist() for rows in batches_of(five)] == [[0], [1, 2], [3], [4, 0]]
    one = replace(small, most=1, samples=(torch.rand(1, 3, 128, 128),))
    assert [rows.tolist() for rows in batches_of(one)] == [[0], [0, 0]]


def test_what_is_expected_is_computed_once_for_each_row_and_given_by_row() -> None:
    network, calls = encoder_network(0), []

    def value(images: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(images))
        return (network.module(images),)

    expected = Expected(replace(reference_of(network, network.spec, Storage.FLOAT32, 1.0), value=value), iter)
    (got,) = expected.outputs("value", torch.tensor([2, 0]))
    assert calls == [2, 1]
    torch.testing.assert_close(got, network.module(network.samples[0][[2, 0]]), atol=1e-5, rtol=1e-5)
    expected.outputs("value", torch.tensor([1]))
    assert calls == [2, 1]
    rows = torch.tensor([1])
    value_of, pulled = gradient_of(network.module)(*expected.inputs(rows), expected.cotangent(rows))
    for want, have in zip((value_of, pulled), expected.outputs("gradient", rows), strict=True):
        torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-4)


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 15.0, 30.0, 45.0])
    monkeypatch.setattr(verify_bundle.time, "monotonic", lambda: next(clock))
    lines: list[str] = []
    assert list(report_slowly(lines.append, "x", [1, 2, 3, 4])) == [1, 2, 3, 4]
    assert lines == ["x: 2 of 4 batches, 30 s left"]


def test_recorded_inputs_are_those_of_use(stored: BundleReferences) -> None:
    assert set(stored) == set(SPECS)
    for role in stored:
        assert all(len(sample) == ROWS or role.endswith(("coder", "embedder")) for sample in stored.samples[role])
    z, t, context = stored.samples["denoiser"]
    assert t.tolist() == torch.linspace(0, 999, ROWS).long().tolist()
    assert context.norm(dim=-1)[:, 0].mean() == pytest.approx(384**0.5, rel=1e-4)
    assert z.shape == (ROWS, 4, 16, 16)
    images = stored.samples["latent_encoder"][0]
    assert images.min() >= 0.0 and images.max() <= 1.0
    assert stored.samples["text_encoder"][0].dtype == torch.int64


def test_other_methods_need_their_weights(bundle: DiffusionBundle) -> None:
    with pytest.raises(UserError, match="--weights"):
        BundleReferences(Bundle(bundle.folder))


def test_precision_is_read_off_the_graph(bundle: DiffusionBundle) -> None:
    assert precision_of(bundle, "denoiser") == "float32"
    if "icons" in {path.name for path in Path("runtime/bundles").glob("*")}:
        assert precision_of(DiffusionBundle.load("icons"), "denoiser") == "int8"


def test_a_reference_in_float64_agrees_with_the_module_and_is_nearer_to_the_truth() -> None:
    module = make_latent_encoder_module(0)
    images = torch.rand(1, 3, 128, 128)
    value, gradient = gradient_of(module)(images, torch.ones(1, 4, 16, 16))
    exact, exact_gradient = gradient_of(InDouble(module))(images, torch.ones(1, 4, 16, 16))
    torch.testing.assert_close(exact, value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(exact_gradient, gradient, atol=1e-5, rtol=1e-4)
    assert exact.dtype == exact_gradient.dtype == torch.float32


# --- rows -------------------------------------------------------------------------------------------------------------


def test_the_worst_of_each_figure_counts_and_no_number_is_the_worst() -> None:
    gate = Gate(10.0, 0.9)
    parts = [Comparison("a", 1.0, 50.0, 0.99, gate), Comparison("b", 0.1, 20.0, 0.999, gate)]
    found = worst("x", parts, gate)
    assert (found.max_error, found.snr_db, found.cosine) == (1.0, 20.0, 0.99)
    broken = worst("x", [*parts, Comparison("c", math.nan, math.nan, math.nan, gate)], gate)
    assert not broken.passed
    assert math.isnan(broken.snr_db)


def rows_with(
    monkeypatch: pytest.MonkeyPatch, bundle: DiffusionBundle, reference: Reference, engine: Callable
) -> list[Row]:
    provider = Provider(backend="ort", device="cpu", value=engine)
    monkeypatch.setattr(verify_bundle, "providers", lambda *_: iter([provider]))
    return list(verify_role(bundle, "latent_encoder", reference, ["ort"], "cpu", ignore))


def test_an_engine_that_is_off_at_one_batch_alone_fails(
    bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = encoder_network(0)
    reference = replace(reference_of(network, network.spec, Storage.FLOAT32, 1.0), most=4)

    def engine(images: Tensor) -> tuple[Tensor, ...]:
        return (network.module(images) * (1.5 if len(images) == 4 else 1.0),)

    (row,) = rows_with(monkeypatch, bundle, reference, engine)
    assert row.batches == (1, 2, 4)
    assert not row.result.passed
    assert row.comparison.snr_db == pytest.approx(20 * math.log10(2.0), abs=0.01)
    (row,) = rows_with(monkeypatch, bundle, reference, lambda images: (network.module(images),))
    assert row.result.passed
    assert row.result.milliseconds > 0


def test_an_engine_that_raises_is_a_row_that_says_why(bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    network = encoder_network(0)

    def engine(images: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError("out of\nmemory")

    (row,) = rows_with(monkeypatch, bundle, reference_of(network, network.spec, Storage.FLOAT32, 1.0), engine)
    assert not row.result.passed
    assert row.remark == "failed at 1 rows: out of memory"
    assert "FAILED (failed at 1 rows: out of memory)" in format_rows([row])


def test_every_provider_of_the_tiny_bundle_agrees_with_numpy(bundle: DiffusionBundle, stored: BundleReferences) -> None:
    names = {"latent_encoder": ["ONNX Runtime CPU", "PyTorch CPU", "PyTorch CPU, gradient"]}
    for role in stored:
        rows = list(verify_role(bundle, role, stored[role], ["ort", "torch", "tensorrt"], "cpu", ignore))
        assert [row.comparison.name.removeprefix(f"{role}: ") for row in rows] == names.get(role, ["ONNX Runtime CPU"])
        assert [row.comparison.name for row in rows if not row.comparison.passed] == []


# --- the command ------------------------------------------------------------------------------------------------------


def test_verify_of_a_bundle_without_its_weights(run, bundle: DiffusionBundle) -> None:
    code, out, _ = run(str(bundle.folder))
    assert code == 0
    assert out.startswith("reference: the bundle's own stored weights in NumPy")
    assert "| scene: denoiser ONNX Runtime CPU, encoder PyTorch |" in out
    assert "FAILED" not in out
    found = read_results(bundle.digest)
    assert {v.role for v in found} == set(SPECS)
    assert {v.provider for v in found} == {"value", "gradient", "scene"}
    assert failed(bundle.digest) == []
    assert all(v.milliseconds > 0 for v in found if v.provider == "value")


def test_a_network_that_misses_its_gate_marks_the_bundle(
    run, bundle: DiffusionBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "export.verify.references.reference_networks", lambda folder, weights: {"latent_encoder": encoder_network(1)}
    )
    code, out, _ = run(str(bundle.folder), "--weights", "other", "--backend", "ort", "--memory", "0.01")
    assert code == 1
    assert out.startswith("reference: PyTorch float32 of other")
    assert "FAILED" in out
    assert f"bundle {MANIFEST.name} is not to be used on this machine: latent_encoder: ONNX Runtime CPU" in out
    assert [(v.role, v.backend) for v in failed(bundle.digest)] == [("latent_encoder", "ort")]


def test_weights_that_a_bundle_was_not_made_of_end_in_code_2(run, bundle: DiffusionBundle, tmp_path: Path) -> None:
    code, _, error = run(str(bundle.folder), "--weights", str(tmp_path / "none"))
    assert code == 2
    assert error.startswith("error: --weights ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--backend", "ort,abacus"), "--backend: expected some of ort, tensorrt, torch, got 'abacus'"),
     (("--memory", "0"), "--memory: expected above 0 to 1000000, got 0"),
     (("--device", "cuda"), "device 'cuda'")],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(
    run, bundle: DiffusionBundle, arguments: tuple[str, ...], named: str
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is one")
    code, _, error = run(str(bundle.folder), *arguments)
    assert code == 2
    assert named in error


def test_references_of_networks_are_made_when_they_are_asked_for(bundle: DiffusionBundle) -> None:
    class Once(dict):
        asked = 0

        def __getitem__(self, role: str) -> ExportedNetwork:
            Once.asked += 1
            return super().__getitem__(role)

    references = TorchReferences(bundle, Once(latent_encoder=encoder_network(0)), 0.1)
    assert (len(references), list(references), Once.asked) == (1, ["latent_encoder"], 0)
    assert references["latent_encoder"].gate == GATES[Storage.FLOAT32]
    assert Once.asked == 1


def test_a_scene_that_fails_marks_the_network_that_is_to_blame() -> None:
    def result(role: str, provider: str, backend: str, passed: bool) -> VerificationResult:
        return VerificationResult(
            role=role, provider=provider, backend=backend, device="cpu", precision="int8", passed=passed, snr_db=30.0
        )

    found = verify_command.fail_with_scene(
        [
            result("denoiser", "value", "ort", True),
            result("denoiser", "value", "torch", True),
            result("latent_encoder", "value", "ort", True),
            result("latent_encoder", "gradient", "ort", True),
            result("latent_encoder", "gradient", "torch", True),
            result("denoiser", "scene", "ort", False),
            result("latent_encoder", "scene", "ort", False),
        ]
    )
    assert [v.passed for v in found] == [False, True, True, False, True, False, False]


def test_the_command_knows_every_backend() -> None:
    assert verify_command._backends("torch, ort") == ["torch", "ort"]
