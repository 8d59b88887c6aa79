"""The networks of Stable Diffusion's families against diffusers and transformers, on small twins, in float32."""

import pytest
import torch

from export.pretrained.mixed import widen_norms
from export.pretrained.names import text_from_transformers
from export.pretrained.text import TextConfig, TextTransformer
from export.pretrained.weights import StoredWeights, fill
from export.sd.configurations import PIPELINES
from export.sd.denoiser import GuidedUNet, time_ids
from export.sd.load import load_source
from export.sd.networks import contexts, empty_module, latents, load_module, network_makers, pictures
from export.sd.source import Source
from export.sd.text_encoder import LastContext, PenultimateContext
from runtime.engines.precision import Storage
from tests.tolerance import ENGINE_FLOAT32, FLOAT32_ROUNDING

FAMILIES = ("tiny-sd15", "tiny-sd21", "tiny-sdxl")


@pytest.fixture(scope="module", params=FAMILIES)
def source(request: pytest.FixtureRequest) -> Source:
    return load_source(f"random:{request.param}")


def ids_of(pads: int) -> torch.Tensor:
    """Three texts of different lengths between the marks, filled up with a padding of this number."""
    ids = torch.full((3, 77), pads)
    for row, length in enumerate((0, 5, 75)):
        words = torch.randint(1, 49406, (length,), generator=torch.Generator().manual_seed(row))
        ids[row, : length + 2] = torch.cat([torch.tensor([49406]), words, torch.tensor([49407])])
    return ids


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pads", [0, 49407])
def test_text_encoders_compute_what_transformers_computes(family: str, pads: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    pipeline = PIPELINES[family]
    for index, configuration in enumerate(pipeline.text_encoders):
        project = index == 1
        config = CLIPTextConfig(**configuration, bos_token_id=49406, eos_token_id=49407)
        reference = CLIPTextModelWithProjection(config).eval()
        state = reference.state_dict()
        ours = TextTransformer(TextConfig.of_transformers(configuration, project=project))
        fill(ours, StoredWeights(text_from_transformers(state), "here"), torch.float32)
        ids = ids_of(pads)
        with torch.no_grad():
            wanted = reference(ids, output_hidden_states=True)
            if pipeline.is_xl:
                found = PenultimateContext(ours)(ids)
                context = found[0] if project else found
                torch.testing.assert_close(context, wanted.hidden_states[-2], atol=ENGINE_FLOAT32, rtol=0)
                if project:
                    torch.testing.assert_close(found[1], wanted.text_embeds, atol=ENGINE_FLOAT32, rtol=0)
            else:
                torch.testing.assert_close(
                    LastContext(ours)(ids), wanted.last_hidden_state, atol=ENGINE_FLOAT32, rtol=0
                )


def test_the_unet_computes_what_diffusers_computes(source: Source) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    unet = load_module(source, "denoiser", Storage.FLOAT32)
    context, pooled = contexts(source)
    z, t = latents(source), torch.tensor([0, 10, 500, 999])
    added, inputs = {}, [z, t, context]
    if pooled is not None:
        ids = torch.tensor(time_ids(source.pipeline)).expand(4, -1)
        added, inputs = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": ids}}, [*inputs, pooled, ids]
    unet.set_attn_processor(AttnProcessor2_0())
    with torch.no_grad():
        wanted = unet(z, t, context, return_dict=False, **added)[0]
        found = GuidedUNet(unet)(*inputs)
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, atol=ENGINE_FLOAT32, rtol=0)


def test_the_autoencoder_computes_what_diffusers_computes(source: Source) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_config(dict(source.pipeline.vae)).eval()
    weights = StoredWeights({name: value.clone() for name, value in vae.state_dict().items()}, "here")
    encoder = fill(empty_module(source.pipeline, "latent_encoder"), weights, torch.float32)
    network = network_makers(source, Storage.FLOAT32)["latent_decoder"]()
    fill(network.module.vae, weights, torch.float32)
    images, scale = pictures(source.pipeline), float(source.pipeline.vae["scaling_factor"])
    with torch.no_grad():
        mean = vae.encode(2.0 * images - 1.0).latent_dist.mean * scale
        torch.testing.assert_close(encoder(images), mean, atol=ENGINE_FLOAT32, rtol=0)
        decoded = vae.decode(mean / scale).sample / 2.0 + 0.5
        torch.testing.assert_close(network.module(mean), decoded, atol=ENGINE_FLOAT32, rtol=0)


@pytest.mark.parametrize("precision", [Storage.FLOAT16, Storage.BFLOAT16])
def test_half_precision_keeps_norms_in_float32_and_loses_little(precision: Storage) -> None:
    source = load_source("random:tiny-sd21")
    exact, half = (network_makers(source, name)["denoiser"]() for name in (Storage.FLOAT32, precision))
    wide = widen_norms(half.module)
    assert len(wide) > 20
    kinds = {name: parameter.dtype for name, parameter in half.module.named_parameters()}
    assert {kinds[name] for name in wide} == {torch.float32}
    assert {kind for name, kind in kinds.items() if name not in wide} == {getattr(torch, precision)}
    with torch.no_grad():
        wanted, found = exact.module(*exact.samples), half.module(*half.samples)
    assert found.dtype == torch.float32
    noise = (wanted - found).square().mean() / wanted.square().mean()
    assert noise < {"float16": 1e-5, "bfloat16": 1e-3}[precision]
    assert noise > 1e-10  # it did compute in half precision


def test_random_weights_depend_on_the_seed_alone_and_keep_activations_of_order_one(source: Source) -> None:
    again = load_source(f"random:{source.pipeline.family}")
    other = load_source(f"random:{source.pipeline.family}", seed=1)
    for role in source.roles:
        first, same, different = (load_module(s, role, Storage.FLOAT32).state_dict() for s in (source, again, other))
        assert all(torch.equal(first[name], same[name]) for name in first)
        assert not any(torch.equal(first[name], different[name]) for name in first)
    network = network_makers(source, Storage.FLOAT32)["denoiser"]()
    with torch.no_grad():
        spread = float(network.module(*network.samples).std())
    assert 0.1 < spread < 10.0


def test_contexts_have_the_width_that_the_unet_takes(source: Source) -> None:
    context, pooled = contexts(source)
    assert context.shape == (4, 77, source.pipeline.unet["cross_attention_dim"])
    assert (pooled is not None) == source.pipeline.is_xl
    if pooled is not None:
        assert not context[0].any() and not pooled[0].any()  # the empty prompt of XL
        sizes = source.pipeline.unet["projection_class_embeddings_input_dim"]
        assert pooled.shape[1] + 6 * source.pipeline.unet["addition_time_embed_dim"] == sizes


@pytest.mark.parametrize(
    ("family", "millions", "image", "context"),
    [("sd15", 859.5, 512, 768), ("sd21", 865.9, 768, 1024), ("sdxl", 2567.5, 1024, 2048)],
)
def test_true_sizes_are_the_published_ones(family: str, millions: float, image: int, context: int) -> None:
    pipeline = PIPELINES[family]
    count = sum(parameter.numel() for parameter in empty_module(pipeline, "denoiser").parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.1)
    assert (pipeline.image_size, pipeline.unet["cross_attention_dim"]) == (image, context)
    encoder, decoder = (empty_module(pipeline, f"latent_{half}") for half in ("encoder", "decoder"))
    whole = sum(parameter.numel() for module in (encoder, decoder) for parameter in module.parameters())
    assert whole == 83_653_863


@pytest.mark.parametrize(("index", "count"), [(0, 123_060_480), (1, 694_659_840)])
def test_true_text_encoders_have_the_published_sizes(index: int, count: int) -> None:
    role = "text_encoder_2" if index else "text_encoder"
    assert sum(p.numel() for p in empty_module(PIPELINES["sdxl"], role).parameters()) == count


def test_attention_of_large_scores_stays_finite_in_float16() -> None:
    from runtime.engines.twins.vit import attend

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 8, 16, generator=generator) for _ in range(3))
    q, k = 60.0 * q, 60.0 * k  # scores of some 10^4: their exponentials overflow float16, not their maximum
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    found = attend(q.half(), k.half(), v.half(), upcast=True)
    torch.testing.assert_close(found.float(), wanted, atol=2e-2, rtol=0)
    torch.testing.assert_close(attend(q, k, v), wanted, atol=10 * FLOAT32_ROUNDING, rtol=0)
