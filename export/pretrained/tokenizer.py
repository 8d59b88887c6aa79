"""CLIP's tokenizer as one tokenizer.json, of a vocabulary and merges; and one of bytes alone, for random weights."""

import gzip
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import read_ordinary

START, END = "<|startoftext|>", "<|endoftext|>"

MOST_BYTES = 1 << 28
"""Greatest size of a tokenizer's file, bytes."""

SIZE = 49408
"""Tokens of CLIP's vocabulary; the last two are the marks."""

_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD_END = "</w>"

FAST = "tokenizer.json"
"""File that holds a whole tokenizer, as the library tokenizers writes it."""

VOCABULARY_FILES = ("vocab.json", "merges.txt", FAST)
"""Files that `read_vocabulary` may read."""

Merges = Sequence[tuple[str, str]]


def clip_tokenizer(vocabulary: Mapping[str, int], merges: Merges, padding: str, length: int = 77) -> bytes:
    """Return the tokenizer.json of a CLIP text encoder.

    Args:
        vocabulary: number of each token.
        merges: pairs that are joined, the first first.
        padding: token that texts are filled up with.
        length: tokens of a text, the marks included.

    Raises:
        UserError: a token that has to be there is not in the vocabulary.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    for token in (START, END, padding):
        if token not in vocabulary:
            raise UserError(f"tokenizer: expected the token {token!r} in its vocabulary; use CLIP's own vocab.json")
    tokenizer = Tokenizer(
        models.BPE(dict(vocabulary), list(merges), end_of_word_suffix=_WORD_END, unk_token=END, fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        # CLIP's own tokenizer cleans white space and case before it cuts; a text is then cut as in training.
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # Inverted: the pattern names the pieces, and what lies between them, white space, is removed.
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.enable_padding(pad_id=vocabulary[padding], pad_token=padding, length=length)
    return tokenizer.to_str().encode()


def byte_symbols() -> list[str]:
    """Return the 256 characters that stand for bytes in CLIP's vocabulary, in its order."""
    # Bytes that are no printable characters get code points from 256 on, as GPT-2's vocabulary has it.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def random_vocabulary() -> tuple[dict[str, int], Merges]:
    """Return a vocabulary for random weights: bytes alone, each with and without the end of a word, and the marks.

    The marks have the numbers that they have in CLIP's, so that the table of tokens has its true size. There is nothing
    to merge: every letter is a token, and a text of more than 75 letters is too long.
    """
    bytes_ = byte_symbols()
    symbols = [*bytes_, *(symbol + _WORD_END for symbol in bytes_)]
    return {**{symbol: i for i, symbol in enumerate(symbols)}, START: SIZE - 2, END: SIZE - 1}, []


def read_vocabulary(folder: Path) -> tuple[dict[str, int], Merges]:
    """Return the vocabulary in a tokenizer folder of transformers: vocab.json and merges.txt, or tokenizer.json.

    Transformers 5 writes the latter alone, the former wrote all three.

    Raises:
        UserError: a file is missing or invalid.
    """
    if (folder / FAST).is_file() and not (folder / "vocab.json").is_file():
        return _read_fast(folder / FAST)
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            raise UserError(
                f"'{folder}': expected {name} in it, or {FAST}, got none; download the model's tokenizer folder too"
            )
    try:
        vocabulary = parse_value(read_ordinary(folder / "vocab.json", MOST_BYTES))
        lines = read_ordinary(folder / "merges.txt", MOST_BYTES).decode("utf-8").split("\n")
        merges = [_pair(line) for line in lines if line and not line.startswith("#version")]
        if not all(isinstance(v, int) for v in vocabulary.values()):
            raise ValueError("a token's number is not an integer")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"'{folder}': expected CLIP's vocab.json and merges.txt, got other files ({error})") from None
    return vocabulary, merges


def has_vocabulary(folder: Path) -> bool:
    """Return whether a folder has the files that `read_vocabulary` reads."""
    return (folder / FAST).is_file() or all((folder / name).is_file() for name in VOCABULARY_FILES[:2])


def _read_fast(path: Path) -> tuple[dict[str, int], Merges]:
    """Return the vocabulary in a tokenizer.json, which has tokens that were added beside those of the model."""
    try:
        document = parse_value(read_ordinary(path, MOST_BYTES))
        model = document["model"]
        added = {token["content"]: token["id"] for token in document.get("added_tokens", [])}
        vocabulary = {**model["vocab"], **added}
        # Pairs are lists since tokenizers 0.20, and were texts with a space before.
        merges = [_pair(pair) if isinstance(pair, str) else (pair[0], pair[1]) for pair in model["merges"]]
        texts = [text for pair in merges for text in pair]
        if not all(type(v) is int for v in vocabulary.values()) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a token's number is no integer, or a merge no pair of texts")
        if model["end_of_word_suffix"] != _WORD_END:
            raise ValueError(f"the end of a word is {model['end_of_word_suffix']!r:.20}")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"'{path}': expected CLIP's tokenizer, got another file ({error!s:.100})") from None
    return vocabulary, merges


def padding_token(folder: Path) -> str:
    """Return the token that a tokenizer folder of transformers fills texts up with; by default the end mark.

    special_tokens_map.json has it, and, in folders of transformers 5, tokenizer_config.json alone.

    Raises:
        UserError: a file cannot be read, or the token is no text.
    """
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            token = parse_value(read_ordinary(path, MOST_BYTES)).get("pad_token")
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"'{path}': expected a JSON object, got another file ({error!s:.100})") from None
        # Some versions write a token as an object with flags.
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
        if token is not None:
            raise UserError(f"'{path}': pad_token: expected a token, got {token!r:.60}")
    return END


def installed_vocabulary() -> tuple[dict[str, int], Merges] | None:
    """Return the vocabulary that the open_clip package carries, without importing it; None where it is not there."""
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    if not path.is_file():
        return None
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    # The file has more merges than CLIP uses: 512 bytes and 2 marks are tokens without one.
    merges = [_pair(line) for line in lines[1 : SIZE - 2 - 512 + 1]]
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + _WORD_END for symbol in symbols), *("".join(pair) for pair in merges), START, END]
    return {token: i for i, token in enumerate(tokens)}, merges


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second
