from pathlib import Path

import torch

from runtime.engines.bundle import DiffusionBundle
from runtime.guidance import samples
from runtime.guidance.clip import rank
from runtime.guidance.prompt import Prompt
from runtime.guidance.sampler import sample_latents
from runtime.guidance.samples import best_sample, sample_or_read
from runtime.guidance.schedule import Schedule
from runtime.loop.events import Sampled
from runtime.loop.folder import RunFolder
from tests.bundles import make_tiny_bundle


def test_the_best_of_k_is_one_of_them_in_eight_bits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 3)
    bundle = DiffusionBundle.load(str(make_tiny_bundle(tmp_path / "tiny")))
    prompt = Prompt.encode("a red apple", bundle.text_encoder())
    events = []

    def draw(run=None, finish=lambda images: images):
        return sample_or_read(
            bundle,
            prompt,
            torch.Generator().manual_seed(0),
            count=3,
            omega=2.0,
            run=run,
            report=events.append,
            finish=finish,
        )

    picture, sheet = best_sample(
        bundle, prompt, torch.Generator().manual_seed(0), count=3, omega=2.0, report=lambda event: None
    )
    assert torch.equal(picture * 255, (picture * 255).round())
    columns = sheet.split(128, dim=2)
    assert min(float((column.clamp(0, 1) - picture).abs().max()) for column in columns) <= 0.5 / 255 + 1e-6
    with RunFolder.create(tmp_path / "run", {}) as run:
        assert torch.equal(draw(run), picture)
        assert [(event.step, event.steps) for event in events if isinstance(event, Sampled)] == [(1, 3), (2, 3), (3, 3)]
        # A resumed run reads what it has stored, whatever the networks would say.
        assert torch.equal(draw(run, finish=lambda images: images * 0), picture)
    assert draw(finish=lambda images: images * 0).max() == 0


def test_after_a_third_of_the_calls_three_of_eight_are_drawn_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 12)
    bundle = DiffusionBundle.load(str(make_tiny_bundle(tmp_path / "tiny")))
    prompt = Prompt.encode("a red apple", bundle.text_encoder())
    events = []
    picture, sheet = best_sample(
        bundle, prompt, torch.Generator().manual_seed(0), count=8, omega=2.0, report=events.append
    )
    assert [len(event.preview()) for event in events if isinstance(event, Sampled)] == [8] * 4 + [3] * 8
    shape = (8, *bundle.latent_shape)
    generator, schedule = torch.Generator().manual_seed(0), Schedule.of(bundle.schedule)
    early = []
    whole = sample_latents(
        bundle.denoiser(), schedule, prompt, shape, generator, omega=2.0, steps=12, report=lambda _, x: early.append(x)
    )
    decode, score = bundle.latent_decoder(), bundle.scorer()
    staying = sorted(rank(decode(early[3]).clamp(0, 1), "a red apple", score)[:3])
    for index, column in enumerate(sheet.split(128, dim=2)):
        expected = decode(whole if index in staying else early[3])[index]
        assert (column - expected).abs().max() < 1e-4
    best = staying[rank(decode(whole)[staying], "a red apple", score)[0]]
    assert (picture - decode(whole)[best].clamp(0, 1)).abs().max() < 0.5 / 255 + 1e-4
