"""The prompts, and that rows and tables fit together."""

from dataclasses import asdict
from itertools import pairwise

from benchmarks.text_to_3d.definitions import NO_PRIORS, PROMPTS, TABLES
from benchmarks.text_to_3d.jobs import job_of
from runtime.dreamfields import preset_config
from train.latent_diffusion.objects import COLOURS


def test_half_of_the_prompts_are_of_the_set_and_no_prompt_is_there_twice() -> None:
    assert len({prompt.text for prompt in PROMPTS}) == len(PROMPTS) == 32
    assert sum(prompt.in_objects for prompt in PROMPTS) == 16
    # The first eight, which dear rows draw, are of both halves, and of things with a front.
    assert sum(prompt.in_objects for prompt in PROMPTS[:8]) == 4
    assert sum(prompt.has_front for prompt in PROMPTS[:8]) >= 6
    assert not any(word in COLOURS - {"blue", "goldfish"} for prompt in PROMPTS for word in prompt.text.split())


def test_each_row_is_a_job_of_its_own_and_tables_share_theirs() -> None:
    keys = {name: [job_of(row, "a cat").key for row in table.rows] for name, table in TABLES.items()}
    assert all(len(set(own)) == len(own) for own in keys.values())
    # All priors together are the command's default, and none of them is the row without priors.
    assert keys["4.1"][-1] == keys["4.2"][-1] == keys["rows"][-2]
    assert keys["4.1"][0] == keys["rows"][-1]
    assert job_of(TABLES["rows"].rows[0], "a cat", seed=1).key != keys["rows"][0]


def test_the_priors_of_table_4_1_come_one_by_one() -> None:
    rows = [dict(row.options) for row in TABLES["4.1"].rows]
    assert rows[0] == NO_PRIORS
    changes = [[k for k in new if new[k] != old[k]] for old, new in pairwise(rows)]
    assert changes == [
        ["ipe"],
        ["basis"],
        ["crop"],
        ["sparsity"],
        ["background"],
        ["network"],
        ["bounds"],
        ["track_origin"],
    ]
    default = asdict(preset_config("fast", "mlp"))
    assert rows[-1] == {name: default[name] for name in rows[-1]}
