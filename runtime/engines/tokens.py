"""Prompts to token numbers, with the tokenizer file of a bundle."""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from runtime.errors import UserError


class PromptTokenizer:
    """A `tokenizers` tokenizer that pads to a fixed length and refuses, rather than cuts, what is longer.

    It pads with the token that the file names for it, else with the one called [PAD] or <pad>, else with 0.
    """

    def __init__(self, document: bytes, length: int, where: str) -> None:
        """Read a tokenizer.

        Args:
            document: verified content of tokenizer.json.
            length: tokens that the text encoder takes, the first and last special ones included.
            where: name of the file, for messages.

        Raises:
            UserError: the content is no tokenizer.
        """
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(document.decode("utf-8"))
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{where}: expected a tokenizer file, got something else: {error!s:.200}") from None
        # read before `no_padding` drops it; the file's own limits could cut a prompt unseen
        padding = self._tokenizer.padding
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        named = next((i for i in map(self._tokenizer.token_to_id, ("[PAD]", "<pad>")) if i is not None), 0)
        self._padding = named if padding is None else int(padding["pad_id"])
        self.length = length

    def __call__(self, prompts: Sequence[str]) -> tuple[Int64[Tensor, "B N"], Int64[Tensor, "B N"]]:
        """Return token numbers and their mask, padded to the length that the encoder takes.

        Raises:
            UserError: a prompt is not text, or has more tokens than the encoder takes.
        """
        ids = torch.full((len(prompts), self.length), self._padding, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            numbers = self._numbers(prompt)
            ids[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
            mask[row, : len(numbers)] = 1
        return ids, mask

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than the encoder takes; a `UserError` says that it is not text."""
        return len(self._encode(prompt)) <= self.length

    def _encode(self, prompt: str) -> list[int]:
        try:
            return self._tokenizer.encode(prompt).ids
        except (TypeError, UnicodeError) as error:
            raise UserError(f"prompt {prompt!r:.80}: expected text, got something else ({error})") from None

    def _numbers(self, prompt: str) -> list[int]:
        numbers = self._encode(prompt)
        if len(numbers) > self.length:
            special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
            raise UserError(
                f"prompt {prompt!r:.80} is too long: expected at most {self.length - special} tokens, "
                f"got {len(numbers) - special}; use fewer words"
            )
        return numbers
