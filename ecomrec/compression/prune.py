"""Structured pruning of a BERT-like encoder: whole layers, attention heads and feed-forward channels, so that what is left is
smaller matrices, which every machine computes faster; and of its vocabulary, so that the table holds what the shop's words need.

Importance is measured, not guessed: the mean of |activation x gradient| of a head's or a channel's output over real queries,
a first-order estimate of what the loss would change without it (Molchanov et al. 2019; for heads Michel et al. 2019).
"""

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Importance:
    """What each part is worth, larger is more: `layers` float [L], `heads` [L, H], `channels` [L, F]."""

    layers: torch.Tensor
    heads: torch.Tensor
    channels: torch.Tensor


def importance(encoder: nn.Module, batches: Iterable, loss: Callable[[object], torch.Tensor]) -> Importance:
    """Of every head and channel over `batches`; `loss(batch)` runs the model that holds `encoder`. Leaves no gradient behind."""
    layers = encoder.encoder.layer
    seen: dict[tuple[int, str], list[torch.Tensor]] = {}
    with _watched(layers, seen):
        for batch in batches:
            loss(batch).backward()
    sums = {key: sum((given * given.grad).abs().sum(dim=(0, 1)) for given in parts) for key, parts in seen.items()}
    size = layers[0].attention.self.attention_head_size
    heads = torch.stack([sums[place, "heads"].view(-1, size).sum(dim=1) for place in range(len(layers))])
    channels = torch.stack([sums[place, "channels"] for place in range(len(layers))])
    encoder.zero_grad(set_to_none=True)
    return Importance(heads.sum(dim=1) + channels.sum(dim=1), heads, channels)


@contextmanager
def _watched(layers: nn.ModuleList, seen: dict) -> Iterator[None]:
    """Inside, what enters the two output matrices of each layer is kept, with its gradient."""
    def keep(key):
        def hook(_, given):
            # A frozen layer below gives no gradient of its own: here the branch starts to need one.
            part = given[0] if given[0].requires_grad else given[0].detach().requires_grad_()
            part.retain_grad()
            seen.setdefault(key, []).append(part)
            return (part, *given[1:])
        return hook

    hooks = []
    for place, layer in enumerate(layers):
        hooks += [layer.attention.output.dense.register_forward_pre_hook(keep((place, "heads"))),
                  layer.output.dense.register_forward_pre_hook(keep((place, "channels")))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def shrink(encoder: nn.Module, worth: Importance, layers: int = 0, heads: int = 0, channels: int = 0) -> nn.Module:
    """A copy of `encoder` with its best `layers`, and in each of them the best `heads` and `channels`; 0: all of them.

    The last layer always stays: what reads the encoder was trained on its output.
    """
    small, depth = copy.deepcopy(encoder), len(encoder.encoder.layer)
    rank = torch.cat([worth.layers[:-1], worth.layers.new_tensor([torch.inf])])
    kept = sorted(rank.topk(min(layers or depth, depth)).indices.tolist())
    small.encoder.layer = nn.ModuleList(small.encoder.layer[place] for place in kept)
    small.config.num_hidden_layers = len(kept)
    for layer, place in zip(small.encoder.layer, kept, strict=True):
        size, attention = layer.attention.self.attention_head_size, layer.attention.self
        if heads and heads < len(worth.heads[place]):
            best = worth.heads[place].topk(heads).indices.sort().values
            kept_rows = (best.unsqueeze(1) * size + torch.arange(size)).flatten()
            for name in ("query", "key", "value"):
                setattr(attention, name, rows(getattr(attention, name), kept_rows))
            layer.attention.output.dense = columns(layer.attention.output.dense, kept_rows)
            attention.num_attention_heads, attention.all_head_size = heads, heads * size
        if channels and channels < len(worth.channels[place]):
            best = worth.channels[place].topk(channels).indices.sort().values
            layer.intermediate.dense, layer.output.dense = rows(layer.intermediate.dense, best), columns(layer.output.dense, best)
    return small


def rows(linear: nn.Linear, kept: torch.Tensor) -> nn.Linear:
    """With the outputs `kept` only."""
    small = nn.Linear(linear.in_features, len(kept))
    small.weight, small.bias = nn.Parameter(linear.weight.detach()[kept].clone()), nn.Parameter(linear.bias.detach()[kept].clone())
    return small


def columns(linear: nn.Linear, kept: torch.Tensor) -> nn.Linear:
    """With the inputs `kept` only."""
    small = nn.Linear(len(kept), linear.out_features)
    small.weight, small.bias = nn.Parameter(linear.weight.detach()[:, kept].clone()), nn.Parameter(linear.bias.detach().clone())
    return small


def vocabulary(tokenizer: Path, texts: Iterable[str], target: Path) -> list[int] | None:
    """Writes `target`: the WordPiece or Unigram tokenizer without the pieces that `texts` never use. Returns the old id of each new one.

    Single characters and special tokens stay, so any word can still be spelled;
    a word whose piece is gone is read as smaller pieces. None, and nothing written, for a tokenizer of another kind.
    """
    from tokenizers import Tokenizer

    told = json.loads(tokenizer.read_text(encoding="utf-8"))
    model = told["model"]
    if model["type"] not in ("WordPiece", "Unigram"):
        return None
    reader = Tokenizer.from_str(json.dumps(told))
    reader.no_padding()
    reader.no_truncation()
    used = {piece for encoding in reader.encode_batch(sorted(set(texts)), add_special_tokens=False) for piece in encoding.ids}
    processor = told.get("post_processor") or {}
    special = {token["id"] for token in told["added_tokens"]} | {number for found in processor.get("special_tokens", {}).values() for number in found["ids"]}
    pieces = {number: piece for piece, number in model["vocab"].items()} if model["type"] == "WordPiece" else {number: piece for number, (piece, _) in enumerate(model["vocab"])}
    old = sorted(number for number, piece in pieces.items()
                 if number in used or number in special or len(piece.removeprefix("##").removeprefix("\u2581")) <= 1 or piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    place = {number: new for new, number in enumerate(old)}
    if model["type"] == "WordPiece":
        model["vocab"] = {pieces[number]: place[number] for number in old}
    else:
        model["vocab"], model["unk_id"] = [model["vocab"][number] for number in old], place[model["unk_id"]]
    for token in told["added_tokens"]:
        token["id"] = place[token["id"]]
    # The post-processor names [CLS] and [SEP] by id too.
    for found in processor.get("special_tokens", {}).values():
        found["ids"] = [place[number] for number in found["ids"]]
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            processor[name] = [processor[name][0], place[processor[name][1]]]
    target.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return old


def embed(encoder: nn.Module, old: list[int]) -> nn.Module:
    """A copy of `encoder` whose word table holds the rows `old` only, in that order."""
    small = copy.deepcopy(encoder)
    words = small.get_input_embeddings()
    table = nn.Embedding(len(old), words.embedding_dim, padding_idx=words.padding_idx)
    table.weight = nn.Parameter(words.weight.detach()[torch.tensor(old)].clone())
    small.set_input_embeddings(table)
    small.config.vocab_size = len(old)
    return small


class Factored(nn.Module):
    """A word table of rank `width`: narrow rows and one matrix that widens them (ALBERT, Lan et al. 2020), from the table's main directions."""

    def __init__(self, table: torch.Tensor, width: int):
        super().__init__()
        mean, width = table.mean(dim=0), min(width, *table.shape)
        _, _, directions = torch.pca_lowrank(table - mean, q=width, center=False)
        self.words, self.widen = nn.Embedding(len(table), width), nn.Linear(width, table.shape[1])
        with torch.no_grad():
            self.words.weight.copy_((table - mean) @ directions)
            self.widen.weight.copy_(directions)
            self.widen.bias.copy_(mean)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.widen(self.words(ids))


def factor(encoder: nn.Module, width: int) -> nn.Module:
    """A copy of `encoder` whose word table has rank `width`."""
    small = copy.deepcopy(encoder)
    small.set_input_embeddings(Factored(small.get_input_embeddings().weight.detach(), width))
    return small
