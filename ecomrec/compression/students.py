"""Students of a text encoder: pruned copies of it, and a small one with the interface of a BERT-like one: depthwise-separable convolutions over the words of a short query.

A depthwise convolution mixes neighbouring words, a pointwise one mixes channels (Chollet 2017, Xception; Kaiser et al. 2018 for
text): 9 x fewer multiplications than a full convolution of the same width, and no attention, which 2 to 8 words don't need.
"""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from ecomrec.compression import prune
from ecomrec.errors import InputError
from ecomrec.models.encoder import stack_of


def spread(texts: list[str], number: int) -> list[str]:
    """At most `number` of the texts, evenly spread: the first of a sorted list are those that begin with digits and an a."""
    return texts[::max(1, len(texts) // number)][:number]


class ConvEncoder(nn.Module):
    """Token ids and mask int64 [B, T] → `.last_hidden_state` float32 [B, T, out]; padding never reaches a real word."""

    def __init__(self, table: torch.Tensor, dim: int, layers: int, out: int):
        """`table`: float32 [V, e], the teacher's word vectors; their `dim` main directions are where the student's start."""
        super().__init__()
        self.words = nn.Embedding(len(table), dim, padding_idx=0)
        self.layers = nn.ModuleList(ConvLayer(dim) for _ in range(layers))
        self.project = nn.Linear(dim, out)
        self.config = SimpleNamespace(hidden_size=out, vocab_size=len(table), num_hidden_layers=layers)
        centred = table - table.mean(dim=0)
        _, _, directions = torch.pca_lowrank(centred, q=min(dim, *table.shape), center=False)
        with torch.no_grad():
            start = centred @ directions
            self.words.weight.zero_()
            self.words.weight[:, :start.shape[1]] = start / start.std()
            self.words.weight[0] = 0

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        there = attention_mask.unsqueeze(-1).to(self.words.weight.dtype)
        hidden = self.words(input_ids) * there
        for layer in self.layers:
            hidden = layer(hidden, there)
        return SimpleNamespace(last_hidden_state=self.project(hidden))


class ConvLayer(nn.Module):
    """Norm, depthwise convolution over three words, ReLU, pointwise convolution, residual."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm, self.pointwise = nn.LayerNorm(dim), nn.Linear(dim, dim)
        self.taps = nn.Parameter(torch.randn(3, dim) * 0.3 + torch.tensor([[0.0], [1.0], [0.0]]))

    def forward(self, hidden: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        given = F.pad(self.norm(hidden) * there, (0, 0, 1, 1))  # shifts and products: int8 would slow a depthwise Conv node down
        mixed = given[:, :-2] * self.taps[0] + given[:, 1:-1] * self.taps[1] + given[:, 2:] * self.taps[2]
        return hidden + self.pointwise(F.relu(mixed)) * there


def build(encoder: nn.Module, wish: dict, tokenizer: Path, place: Path, texts: Callable[[], list[str]], worth: Callable[[], prune.Importance]) -> nn.Module:
    """The untrained student of `encoder` that a recipe's `wish` describes, or a copy of it; writes its tokenizer to `place`/tokenizer.json.

    texts: what the student will learn from, for the vocabulary; worth: what the encoder's parts are worth, asked for when it is needed.
    Raises InputError for a wish that this encoder cannot fulfil.
    """
    shutil.copy(tokenizer, place / "tokenizer.json")
    small = copy.deepcopy(encoder)
    if wish.get("vocabulary"):
        kept = prune.vocabulary(tokenizer, texts(), place / "tokenizer.json")
        if kept is None:
            raise InputError("its tokenizer is neither WordPiece nor Unigram, whose vocabulary can be pruned", "leave `vocabulary` out of the variant")
        small = prune.embed(small, kept)
    if wish.get("conv"):
        return ConvEncoder(small.get_input_embeddings().weight.detach(), wish["conv"]["dim"], wish["conv"]["layers"], encoder.config.hidden_size)
    if {"layers", "heads", "channels"} & set(wish):
        if not any(hasattr(layer, "attention") for layer in stack_of(encoder)):
            raise InputError("this encoder has no attention to prune", "leave `layers`, `heads` and `channels` out of the variant; `vocabulary`, `conv` and `int8` go")
        small = prune.shrink(small, worth(), wish.get("layers", 0), wish.get("heads", 0), wish.get("channels", 0))
    return prune.factor(small, wish["width"]) if wish.get("width") else small


def describe(wish: dict) -> str:
    """A recipe's wish in words."""
    words = []
    if wish.get("conv"):
        words.append(f"{wish['conv']['layers']} separable convolutions of width {wish['conv']['dim']}")
    words += [f"{wish[name]} {name} kept" for name in ("layers", "blocks", "heads", "channels") if wish.get(name)]
    words += [f"users and items of {wish['dim'] if wish['dim'] >= 1 else format(wish['dim'], '.0%') + ' of the'} dimensions"] if wish.get("dim") else []
    words += ["words that are used"] if wish.get("vocabulary") else []
    words += [f"word table of rank {wish['width']}"] if wish.get("width") else []
    words += ["distilled"] if "distil" in wish or wish.get("dim") else []
    words += ["items in INT8"] if wish.get("items") else []
    kept = f" but for the {wish['in_float']} most sensitive layers" if wish.get("in_float") else ""
    return ", ".join([*words, f"{wish['int8']} INT8{kept}" if wish.get("int8") else "FP16" if wish.get("half") else "FP32"])
