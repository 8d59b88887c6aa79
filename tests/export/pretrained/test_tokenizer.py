"""CLIP's tokenizer against that of transformers, on a small vocabulary."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from export.pretrained.tokenizer import (
    END,
    SIZE,
    START,
    byte_symbols,
    clip_tokenizer,
    has_vocabulary,
    installed_vocabulary,
    padding_token,
    random_vocabulary,
    read_vocabulary,
)
from runtime.engines.tokens import PromptTokenizer
from runtime.errors import UserError

MERGES = [("a", "n"), ("an", "d"), ("p", "and"), ("pand", "a</w>"), ("r", "e"), ("re", "d</w>"), ("'", "s</w>")]
TEXTS = (
    "",
    "a red panda",
    "A  RED\tPanda's boat,2 boats!",
    "naïve café \u00e9 e\u0301 日本 🐼",
    "l'été it's WE'LL 1234 a_b--c",
    "x" * 60,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    symbols = byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols), *(a + b for a, b in MERGES), START, END]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.mark.parametrize("padding", [END, "!"])
def test_tokens_are_those_of_transformers(folder: Path, padding: str) -> None:
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=padding)
    ours = PromptTokenizer(clip_tokenizer(*read_vocabulary(folder), padding), 77, "tokenizer.json")
    # transformers takes a "!" in a text for padding where that is the padding; open_clip, who trained with it, does not
    texts = [text.replace("!", "") if padding == "!" else text for text in TEXTS]
    wanted = reference(texts, padding="max_length", max_length=77, truncation=True)["input_ids"]
    assert ours(texts)[0].tolist() == wanted


def test_a_text_that_is_too_long_is_refused_not_cut(folder: Path) -> None:
    ours = PromptTokenizer(clip_tokenizer(*read_vocabulary(folder), END), 77, "tokenizer.json")
    assert ours(["x" * 75])[1].sum() == 77
    with pytest.raises(UserError, match="expected at most 75 tokens, got 76"):
        ours(["x" * 76])


def test_random_weights_have_a_vocabulary_of_bytes_with_clips_marks() -> None:
    vocabulary, merges = random_vocabulary()
    ours = PromptTokenizer(clip_tokenizer(vocabulary, merges, "!"), 77, "tokenizer.json")
    ids = ours(["Hi!"])[0][0].tolist()
    symbols = byte_symbols()
    letters = [symbols.index("h"), 256 + symbols.index("i"), 256 + symbols.index("!")]
    assert ids == [SIZE - 2, *letters, SIZE - 1] + [0] * 72
    assert (vocabulary[START], vocabulary[END]) == (49406, 49407)


def test_the_open_clip_packages_vocabulary_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    package = tmp_path / "open_clip"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('not to be imported')")
    lines = ['"bpe_simple_vocab_16e6.txt#version: 0.2', *(f"a{i} b{i}" for i in range(60_000))]
    (package / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.syspath_prepend(tmp_path)
    found = installed_vocabulary()
    assert found is not None
    vocabulary, merges = found
    assert (len(vocabulary), len(merges)) == (SIZE, SIZE - 512 - 2)
    assert merges[0] == ("a0", "b0")
    assert (vocabulary["a0b0"], vocabulary[START], vocabulary[END]) == (512, 49406, 49407)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("vocab.json", None, "expected vocab.json in it, or tokenizer.json, got none"),
        ("merges.txt", None, "expected merges.txt in it, or tokenizer.json, got none"),
        ("vocab.json", "[1]", "expected CLIP's vocab.json and merges.txt, got other files"),
        ("vocab.json", "{", "expected CLIP's vocab.json and merges.txt, got other files"),
        ("merges.txt", "a b c", "expected CLIP's vocab.json and merges.txt, got other files"),
    ],
)
def test_a_folder_without_a_vocabulary_is_refused(
    folder: Path, tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words):
        read_vocabulary(tmp_path)


def test_a_vocabulary_without_the_marks_is_refused() -> None:
    with pytest.raises(UserError, match=r"expected the token '<.startoftext.>' in its vocabulary"):
        clip_tokenizer({"a": 0}, [], "!")


@pytest.mark.parametrize("padding", [END, "!"])
def test_a_folder_that_transformers_has_written_is_read(folder: Path, padding: str, tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=padding)
    reference.save_pretrained(tmp_path)
    # Version 5 writes one file, version 4 three.
    assert (tmp_path / "tokenizer.json").is_file() and has_vocabulary(tmp_path)
    assert padding_token(tmp_path) == padding
    assert read_vocabulary(tmp_path) == read_vocabulary(folder)
    ours = PromptTokenizer(clip_tokenizer(*read_vocabulary(tmp_path), padding), 77, "tokenizer.json")
    texts = [text.replace("!", "") for text in TEXTS]
    expected = reference(texts, padding="max_length", max_length=77, truncation=True)["input_ids"]
    assert ours(texts)[0].tolist() == expected


def test_merges_of_older_files_are_texts(folder: Path, tmp_path: Path) -> None:
    vocabulary, merges = read_vocabulary(folder)
    model = {"vocab": vocabulary, "merges": [" ".join(pair) for pair in merges], "end_of_word_suffix": "</w>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), "utf-8")
    assert read_vocabulary(tmp_path) == (vocabulary, merges)


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"model": {"vocab": {"a": 0}, "merges": []}},
        {"model": {"vocab": {"a": 0}, "merges": [], "end_of_word_suffix": ""}},
        {"model": {"vocab": {"a": "0"}, "merges": [], "end_of_word_suffix": "</w>"}},
        {"model": {"vocab": {"a": 0}, "merges": [["a"]], "end_of_word_suffix": "</w>"}},
        {"model": {"vocab": {"a": 0}, "merges": [[1, 2]], "end_of_word_suffix": "</w>"}},
        {"model": {"vocab": [], "merges": [], "end_of_word_suffix": "</w>"}},
        {"added_tokens": 3, "model": {"vocab": {}, "merges": [], "end_of_word_suffix": "</w>"}},
    ],
)
def test_another_tokenizer_is_refused(change: dict, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(change))
    with pytest.raises(UserError, match=r"tokenizer\.json': expected CLIP's tokenizer"):
        read_vocabulary(tmp_path)


def test_where_the_padding_is_looked_for(tmp_path: Path) -> None:
    assert padding_token(tmp_path) == END
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "!"}')
    assert padding_token(tmp_path) == "!"
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "a"}')
    assert padding_token(tmp_path) == "!"
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": {"content": "?", "lstrip": false}}')
    assert padding_token(tmp_path) == "?"
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": 3}')
    with pytest.raises(UserError, match="pad_token: expected a token, got 3"):
        padding_token(tmp_path)
