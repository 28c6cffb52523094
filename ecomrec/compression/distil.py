"""Distillation: a smaller model learns what the trained one answers, on any text, labelled or not (Hinton et al. 2015).

Two things are handed over: the teacher's soft answers (KL divergence at a temperature) and where it places a text (cosine of the
vectors, through a projection where the student is narrower: hidden-state alignment, Jiao et al. 2020, TinyBERT).
"""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from ecomrec.errors import AuditFailed
from ecomrec.models.encoder import batches, warm_linear
from ecomrec.progress import Progress

Echo = Callable[[str], None]
LARGE = 4096  # rows of a table that is moved sparsely


def fit(student: torch.nn.Module, run: Callable[[list[int]], tuple[torch.Tensor | None, torch.Tensor]], lengths: list[int], logits: np.ndarray | None,
        vectors: np.ndarray, rules: dict, seed: int, echo: Echo, name: str) -> dict:
    """Trains `student` to give the teacher's `logits` [N, C] (None: it has none) and unit `vectors` [N, d].

    run(rows): the student's logits and unit vectors for those texts; `lengths` [N] groups texts of like length. rules: batch,
    epochs, learning_rate, temperature. Returns steps, seconds and the mean loss of the first and the last tenth. Raises
    AuditFailed when the loss is no number or has not fallen: a student that never learns is told, not served.
    """
    source, device = random.Random(seed), next(student.parameters()).device
    plan = []
    for _ in range(rules["epochs"]):  # in another order each time: texts of one kind lie together, and the last seen would weigh most
        order = source.sample(range(len(lengths)), len(lengths))
        plan += [[order[place] for place in rows] for rows in batches([lengths[row] for row in order], rules["batch"], source)]
    with torch.no_grad():
        _, example = run(plan[0][:2])
    align = torch.nn.Linear(example.shape[1], vectors.shape[1], bias=False).to(device) if example.shape[1] != vectors.shape[1] else torch.nn.Identity()
    # A step reads a few rows of the word and n-gram tables: only those are moved, which is most of a step's time saved.
    tables = [part for part in student.modules() if isinstance(part, torch.nn.Embedding) and part.num_embeddings > LARGE and part.weight.requires_grad]
    for part in tables:
        part.sparse = True
    rest = [part for part in student.parameters() if part.requires_grad and not any(part is found.weight for found in tables)]
    optimizers = [torch.optim.AdamW([*rest, *align.parameters()], lr=rules["learning_rate"], weight_decay=0.01)]
    optimizers += [torch.optim.SparseAdam([part.weight for part in tables], lr=rules["learning_rate"])] if tables else []
    schedules, heat = [warm_linear(optimizer, len(plan), 0.05) for optimizer in optimizers], rules["temperature"]
    losses, told = [], Progress(echo, f"compress: {name}", len(plan), rules["batch"], "texts")
    student.train()
    for step, rows in enumerate(plan, 1):
        said, placed = run(rows)
        wanted = torch.from_numpy(vectors[rows]).to(device)
        loss = 1 - F.cosine_similarity(align(placed), wanted).mean()
        if logits is not None:
            soft = torch.from_numpy(logits[rows]).to(device) / heat
            loss = loss + heat * heat * F.kl_div(F.log_softmax(said / heat, dim=1), F.log_softmax(soft, dim=1), reduction="batchmean", log_target=True)
        if not torch.isfinite(loss):
            raise AuditFailed(f"{name}: the loss is {loss.item()} at step {step}", "lower its learning_rate in the recipe")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        told(step, np.mean(losses[-50:]))
    student.eval()
    for found in tables:
        found.sparse = False
    part = max(1, len(losses) // 10)
    first, last = float(np.mean(losses[:part])), float(np.mean(losses[-part:]))
    if len(losses) >= 20 and last > 0.999 * first:
        raise AuditFailed(f"{name} never learned: its loss went from {first:.3f} to {last:.3f}", "raise epochs or learning_rate in the recipe")
    return {"steps": len(plan), "seconds": round(told.seconds, 1), "loss": [round(first, 4), round(last, 4)]}
