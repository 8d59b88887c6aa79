import json
from pathlib import Path

from benchmarks.tables.records import Record, Records, captions_digest


def record(**change) -> Record:
    values = {"job": "j", "prompt": "a cat", "method": "raster", "samples": 4, "seed": 0, "sha256": "s"}
    values |= {"judge": "heads", "captions": "c", "similarity": [0.1, 0.25]}
    return Record(**{**values, **change})


def test_records_are_lines_that_a_later_run_finds(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.jsonl")
    records.add(record())
    records.add(record(judge="clip", similarity=[0.3, 1 / 3]))
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["judge"] for line in lines] == ["heads", "clip"]
    again = Records(tmp_path / "records.jsonl")
    assert again.find("j", "s", "clip", "c") == record(judge="clip", similarity=[0.3, 1 / 3])
    for key in (("j", "other", "clip", "c"), ("j", "s", "clip", "others"), ("k", "s", "clip", "c")):
        assert again.find(*key) is None


def test_a_line_that_was_cut_off_is_written_again_on_its_own(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    Records(file).add(record())
    file.write_text(file.read_text()[:-30])
    records = Records(file)
    assert records.find("j", "s", "heads", "c") is None
    records.add(record())
    assert Records(file).find("j", "s", "heads", "c") == record()


def test_other_captions_are_other_records() -> None:
    assert captions_digest(["a cat", "a dog"]) != captions_digest(["a dog", "a cat"])
    assert captions_digest(["a cat"]) == captions_digest(("a cat",))
