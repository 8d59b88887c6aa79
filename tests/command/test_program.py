"""A command is called as it was typed."""

import pytest

from runtime.command.program import STARTED_BY_TGM, program_name


@pytest.mark.parametrize(
    ("module", "by_tgm"),
    [
        ("runtime.vectorfusion", "tgm vectorfusion"),
        ("runtime", "tgm runtime"),
        ("train.latent_diffusion.denoiser", "tgm train latent_diffusion.denoiser"),
        ("export", "tgm export"),
    ],
)
def test_the_name_is_what_was_typed(module: str, by_tgm: str) -> None:
    assert program_name(module) == f"python -m {module}"
    token = STARTED_BY_TGM.set(True)
    try:
        assert program_name(module) == by_tgm
    finally:
        STARTED_BY_TGM.reset(token)
