"""Students of the recommender's user encoder: copies with fewer blocks, heads or channels, and one that works in fewer dimensions.

The last also needs an item table of fewer dimensions, whose scores are as near to the trained ones as a table of that width allows. With m
the mean of the users' vectors h and C their covariance, h . v = m . v + (h - m) . v: the first part goes into the item's bias, the second is
approximated best by the first singular vectors U of C^(1/2) V^T W^(1/2) (Eckart & Young 1936; W weighs an item by how often it was bought):
v' = U^T C^(1/2) v and h' = U^T C^(-1/2) (h - m), of which the student learns to give the second. What an error in a direction of h' does to
the scores is its singular value, so that weighs the loss.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ecomrec.compression import prune
from ecomrec.errors import InputError
from ecomrec.models.sequential import UserEncoder

Grid = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # vectors float32 [B, T, d], days int64 [B, T], which positions are real bool [B, T]


@dataclass(frozen=True)
class Space:
    """k of d dimensions in which scores are kept: (users.T @ (h - centre)) . (items.T @ v) + centre . v is nearly h . v."""

    centre: np.ndarray  # float32 [d]
    items: np.ndarray  # float32 [d, k]
    users: np.ndarray  # float32 [d, k]
    worth: np.ndarray  # float32 [k], of each dimension for the scores; mean 1
    kept: float        # share (0-1) of the scores' variance over the users


def space(table: np.ndarray, states: np.ndarray, weight: np.ndarray, dim: int) -> Space:
    """The best `dim` dimensions for the scores of the users' vectors `states` [N, d] and the items' `table` [I, d], which count by `weight` [I].

    Raises InputError when that is no fewer than there are.
    """
    if not 0 < dim < table.shape[1]:
        raise InputError(f"dim = {dim}, and the trained model has {table.shape[1]}", "ask for fewer, or leave `dim` out of the variant")
    centre = states.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(states.T.astype(np.float64), bias=True))
    values = np.maximum(values, max(1e-6 * values[-1], 1e-12))
    root, inverse = (vectors * values ** power @ vectors.T for power in (0.5, -0.5))
    left, size, _ = np.linalg.svd(root @ (table * np.sqrt(weight / weight.sum())[:, None]).T.astype(np.float64), full_matrices=False)
    scale = np.sqrt(np.maximum(size[:dim], max(1e-9 * size[0], 1e-12)))  # shared between both sides
    items, users = (root @ left[:, :dim]) / scale, (inverse @ left[:, :dim]) * scale
    return Space(centre.astype(np.float32), items.astype(np.float32), users.astype(np.float32), (size[:dim] / max(size[:dim].mean(), 1e-12)).astype(np.float32),
                 float((size[:dim] ** 2).sum() / max((size ** 2).sum(), 1e-12)))


def narrow(encoder: UserEncoder, dim: int) -> UserEncoder:
    """An untrained encoder of `dim` dimensions with as many blocks and heads. Raises InputError when the heads cannot share them."""
    heads = encoder.blocks[0].heads
    if dim % heads:
        raise InputError(f"dim = {dim}, and {heads} heads share it", f"ask for a multiple of {heads}")
    small = UserEncoder(dim, heads, len(encoder.blocks), 0.0)
    small.last = nn.Sequential(small.last, nn.Linear(dim, dim))  # a norm alone gives points of one ellipsoid only
    return small


def fewer(encoder: UserEncoder, blocks: int, grids: list[Grid]) -> tuple[UserEncoder, list[int]]:
    """A copy of `encoder` with `blocks` of its blocks, and their places: one after the other the one goes without which its vectors change least.

    Raises InputError when it has no more than that.
    """
    if not 0 < blocks < len(encoder.blocks):
        raise InputError(f"blocks = {blocks}, and the trained encoder has {len(encoder.blocks)}",
                         "train one with more ([sequential] blocks in the recipe), or leave `blocks` out of the variant")
    small, kept = copy.deepcopy(encoder), list(range(len(encoder.blocks)))

    def apart(without: int) -> float:
        small.blocks = nn.ModuleList(encoder.blocks[place] for place in kept if place != without)
        with torch.inference_mode():
            return sum(float((small(vectors, days) - encoder(vectors, days))[real].square().sum()) for vectors, days, real in grids)

    while len(kept) > blocks:
        kept.remove(min(kept, key=apart))
    small.blocks = nn.ModuleList(copy.deepcopy(encoder.blocks[place]) for place in kept)
    return small, kept


def shrink(encoder: UserEncoder, worth: list[tuple[torch.Tensor, torch.Tensor]], heads: int = 0, channels: int = 0) -> UserEncoder:
    """A copy of `encoder` whose blocks keep their best `heads` and feed-forward `channels`, by what they are worth ([H], [F]) per block; 0: all."""
    small = copy.deepcopy(encoder)
    for block, (of_heads, of_channels) in zip(small.blocks, worth, strict=True):
        if heads and heads < block.heads:
            best, inner = of_heads.topk(heads).indices.sort().values, block.out.in_features
            kept = (best.unsqueeze(1) * (inner // block.heads) + torch.arange(inner // block.heads)).flatten()
            block.query_key_value = prune.rows(block.query_key_value, torch.cat([kept + shift * inner for shift in range(3)]))
            block.out = prune.columns(block.out, kept)
            for table in (block.lag, block.step):
                table.weight, table.embedding_dim = nn.Parameter(table.weight.detach()[:, best].clone()), heads
            block.heads = heads
        if channels and channels < block.mlp[0].out_features:
            best = of_channels.topk(channels).indices.sort().values
            block.mlp[0], block.mlp[2] = prune.rows(block.mlp[0], best), prune.columns(block.mlp[2], best)
    return small
