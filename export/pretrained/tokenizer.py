"""CLIP's tokenizer as one tokenizer.json, of a vocabulary and merges; and one of bytes alone, for random weights."""

import gzip
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError

START, END = "<|startoftext|>", "<|endoftext|>"

SIZE = 49408
"""Tokens of CLIP's vocabulary; the last two are the marks."""

_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD_END = "</w>"

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
    """Return the vocabulary in a tokenizer folder of transformers: vocab.json and merges.txt.

    Raises:
        UserError: a file is missing or invalid.
    """
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            raise UserError(f"'{folder}': expected {name} in it, got none; download the model's tokenizer folder too")
    try:
        vocabulary = parse_value((folder / "vocab.json").read_bytes())
        lines = (folder / "merges.txt").read_text("utf-8").split("\n")
        merges = [_pair(line) for line in lines if line and not line.startswith("#version")]
        if not all(isinstance(v, int) for v in vocabulary.values()):
            raise ValueError("a token's number is not an integer")
    except (ValueError, AttributeError) as error:
        raise UserError(f"'{folder}': expected CLIP's vocab.json and merges.txt, got other files ({error})") from None
    return vocabulary, merges


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
