"""Approximate search, for catalogues that take too long to score whole: an inverted file of faiss.

Items lie in cells around centres (k-means); a question reads only the cells whose centres lie nearest. There a number takes one byte; whoever asks
scores what is found exactly. How many cells are read is set by the recall that was measured (`ecomrec.compression.search`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np

FILE = "items.faiss"
DEPTH = 3
CELLS = 4       # times the square root of the items, the usual number of cells
EXAMPLES = 64   # items a cell that k-means sees
ROUNDS = 10     # of k-means
FIRST = 8       # cells that are read at first where as many are sought as the recall takes
LANES = 8       # numbers that faiss reads at once: of vectors that are no multiple as long it reads one after the other, five times as slow


@dataclass(frozen=True)
class Index:
    cells: faiss.IndexIVF
    probes: int         # cells that are read for a question
    depth: int = DEPTH  # times as many are looked for as are wanted: exact scores, which know more than the index, decide among them

    def search(self, asked: np.ndarray, count: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """The items whose inner products with `asked` float32 [U, d] are largest, nearly all of them, int32 [U, count]; -1 where the cells hold no
        more. `allowed`: bool [I], the others are passed over."""
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        chosen = faiss.SearchParametersIVF(nprobe=self.probes, **({} if bits is None else {"sel": faiss.IDSelectorBitmap(bits)}))
        wide = np.zeros((len(asked), self.cells.d), dtype=np.float32)
        wide[:, :asked.shape[1]] = asked
        return self.cells.search(wide, count, params=chosen)[1].astype(np.int32)


def build(vectors: np.ndarray, seed: int, probes: int = FIRST) -> Index:
    """The index of items whose vectors are the rows of float32 `vectors` [I, d]; the same for the same seed.

    Among vectors of unequal length the largest inner product is not the smallest distance, and cells of inner products would be a few large ones. With
    sqrt(longest² - |x|²) as one more dimension it is (Bachrach et al. 2014, Speeding Up the Xbox Recommender System Using a Euclidean
    Transformation for Inner-Product Spaces).
    """
    (items, dim), squares = vectors.shape, (vectors.astype(np.float64) ** 2).sum(axis=1)
    wide = np.zeros((items, -(-(dim + 1) // LANES) * LANES), dtype=np.float32)
    wide[:, :dim], wide[:, dim] = vectors, np.sqrt(squares.max(initial=0) - squares)
    centres = max(1, min(int(CELLS * items ** 0.5), items // EXAMPLES))
    quantizer = faiss.IndexFlatL2(wide.shape[1])
    cells = faiss.IndexIVFScalarQuantizer(quantizer, wide.shape[1], centres, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2)
    cells.cp.seed, cells.cp.niter, cells.cp.max_points_per_centroid = seed, ROUNDS, EXAMPLES
    cells.train(wide)
    cells.add(wide)
    return Index(cells, min(probes, centres))


def enough(index: Index, least: float, recall: Callable[[Index], float]) -> tuple[Index, float]:
    """The index reading the fewest cells (of FIRST, half as many more, …) with which `recall` of it is at least `least`, and that recall; where no
    fewer do, all cells with what they have."""
    probes = FIRST
    while probes < index.cells.nlist:
        if (found := recall(tried := replace(index, probes=probes))) >= least:
            return tried, found
        probes += probes // 2
    return (tried := replace(index, probes=index.cells.nlist)), recall(tried)


def found_of(wanted: np.ndarray, found: np.ndarray) -> float:
    """Mean share of the `wanted` [U, n] (-1: none) that was `found` [U, m]."""
    return float(np.mean([np.isin(wish[wish >= 0], got).mean() for wish, got in zip(wanted, found, strict=True)]))


def save(path: Path, index: Index) -> None:
    faiss.write_index(index.cells, str(path))


def load(path: Path, probes: int, depth: int = DEPTH) -> Index:
    return Index(faiss.read_index(str(path)), probes, depth)


def padded(offsets: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The items offsets[u]:offsets[u+1] of each user as int32 [U, most], -1 after the last."""
    sizes = np.diff(offsets)
    rows = np.full((len(sizes), int(sizes.max(initial=0))), -1, dtype=np.int32)
    rows[np.repeat(np.arange(len(sizes)), sizes), np.arange(len(items)) - np.repeat(offsets[:-1], sizes)] = items
    return rows


def merged(parts: list[np.ndarray], items: int) -> tuple[np.ndarray, np.ndarray]:
    """What users have in any of the parts int32 [U, w] (-1: nothing), each item once and ascending: int32 [U, W]; and bool [U, W], which
    places are taken. The others come last and name item `items` - 1, so that a row stays ascending and every place is an item's."""
    whole = np.concatenate(parts, axis=1)
    whole = np.sort(np.where(whole < 0, items, whole), axis=1)
    whole[:, 1:][whole[:, 1:] == whole[:, :-1]] = items
    whole = np.sort(whole, axis=1)
    whole = whole[:, :max(1, int((whole < items).sum(axis=1).max(initial=0)))]
    return np.minimum(whole, items - 1), whole < items


def places(pool: np.ndarray, user: np.ndarray, item: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each `item` of each `user` [n] stands in the user's row of an ascending `pool` [U, W]: the column, and whether it is there."""
    keys = (pool.astype(np.int64) + np.arange(len(pool))[:, None] * items).ravel()
    wanted = user.astype(np.int64) * items + item
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return at - user * pool.shape[1], keys[at] == wanted if len(keys) else np.zeros(len(wanted), dtype=bool)
