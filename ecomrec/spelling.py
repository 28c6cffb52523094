"""A reader of spelling that is trained by itself: a bag of hashed character n-grams below a linear layer.

As in fastText (Joulin et al. 2017, Bag of Tricks for Efficient Text Classification). It costs a hundredth of an encoder's step, so it
sees each query many times, with other typing errors each time. Trained together, the two would share one error signal, and what learns
faster leaves the other nothing: so each learns alone, and validation says how much the second one counts.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional

from ecomrec.models.tokens import BUCKETS, hashed
from ecomrec.progress import Progress

Echo = Callable[[str], None]
BATCH = 256


def fit(texts: list[str], target: sparse.csr_matrix, change: Callable[[str], str], measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], rules: dict, seed: int,
        echo: Echo) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Learns `target`, float32 [N, C] whose rows sum to 1, from `texts`; `change` gives a text as somebody may mistype it, `measure(logits, target)` is the loss.

    rules: `spelling`, the width d; `spelling_samples`, texts seen, repeats included, at most a hundred times each; `spelling_learning_rate`;
    `dropout`. Returns the table float32 [BUCKETS + 1, d] (row 0 is padding), the layer float32 [C, d] and its bias float32 [C]: logits are the layer
    times the sum of a text's rows over the square root of their number.
    """
    width, generator = rules["spelling"], np.random.default_rng(seed)
    torch.manual_seed(seed)
    table = torch.nn.Parameter(0.1 * torch.randn(BUCKETS + 1, width))
    layer, bias = torch.nn.Parameter(0.01 * torch.randn(target.shape[1], width)), torch.nn.Parameter(torch.zeros(target.shape[1]))
    passes, most = max(1, min(100, round(rules["spelling_samples"] / len(texts)))), min(len(texts), rules["spelling_samples"])
    plan = [rows for _ in range(passes) for rows in np.array_split(generator.permutation(len(texts))[:most], -(-most // BATCH))]
    optimizers = torch.optim.SparseAdam([table], lr=rules["spelling_learning_rate"]), torch.optim.Adam([layer, bias], lr=rules["spelling_learning_rate"])
    told = Progress(echo, "train: spelling", len(plan), BATCH, "texts")
    for step, rows in enumerate(plan):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            optimizer.param_groups[0]["lr"] = rules["spelling_learning_rate"] * (1 - step / len(plan))
        read = functional.dropout(_read(table, [hashed(change(texts[row])) for row in rows]), rules["dropout"])
        loss = measure(functional.linear(read, layer, bias), torch.from_numpy(target[rows].toarray()))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        told(step + 1, loss.detach())
    with torch.no_grad():
        table[0] = 0
    return tuple(part.detach().numpy() for part in (table, layer, bias))


def logits(reader: tuple[np.ndarray, np.ndarray, np.ndarray], texts: list[str]) -> np.ndarray:
    """Float32 [N, C]."""
    table, layer, bias = (torch.from_numpy(part) for part in reader)
    with torch.inference_mode():
        parts = [functional.linear(_read(table, [hashed(text) for text in texts[first:first + BATCH]]), layer, bias) for first in range(0, len(texts), BATCH)]
    return torch.cat(parts).numpy() if parts else np.zeros((0, len(bias)), dtype=np.float32)


def _read(table: torch.Tensor, grams: list[list[int]]) -> torch.Tensor:
    counts = np.array([len(row) for row in grams])
    starts = torch.from_numpy(np.concatenate(([0], np.cumsum(counts)[:-1])))
    found = functional.embedding_bag(torch.from_numpy(np.concatenate(grams)), table, starts, mode="sum", sparse=table.requires_grad)
    return found / torch.from_numpy(np.sqrt(counts)).float().unsqueeze(1)
