"""Products that a model has not learned: which learned ones each borrows its score from (docs/decisions/0042).

Likeness is the cosine of the texts' vectors, and half as much that of their words (TF-IDF): an encoder knows that a razor is like a shaver,
and words know a brand or a series that it never heard of.
"""

import numpy as np
from scipy import sparse

from ecomrec.models import words
from ecomrec.models.topn import top

NEIGHBOURS = 10
WORDS = 0.5     # what the words' cosine counts beside the vectors'
SHARPNESS = 4   # power of the likeness: how much more the nearest count than the next
CELLS = 8_000_000  # cosines held at once


def lenders(known: np.ndarray, new: np.ndarray, known_texts: list[str], new_texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The known products that are most like each new one, nearest first, int32 [N, n], and their parts in its score, float32 [N, n], 1 in each row.

    known, new: unit vectors [K, d] and [N, d] of the texts.
    """
    said = words.features([*known_texts, *new_texts])
    known_said, new_said = said[:len(known)].T.tocsr(), said[len(known):]
    step, blocks = max(1, CELLS // max(len(known), 1)), []
    for first in range(0, len(new), step):
        rows = slice(first, min(first + step, len(new)))
        alike = new[rows] @ known.T + np.float32(WORDS) * (new_said[rows] @ known_said).toarray()
        blocks.append(top(np.maximum(alike.astype(np.float32), np.float32(1e-6)), min(NEIGHBOURS, len(known))))
    places, likeness = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    parts = likeness ** SHARPNESS
    return places, parts / parts.sum(axis=1, keepdims=True)


def borrowing(lenders: np.ndarray, parts: np.ndarray, items: int) -> sparse.csc_matrix:
    """Float32 [items, N]: scores [U, items] of the known products times this are those of the new ones."""
    return sparse.csc_matrix((np.ravel(parts), np.ravel(lenders), np.arange(len(lenders) + 1) * np.shape(lenders)[1]), shape=(items, len(lenders)), dtype=np.float32)
