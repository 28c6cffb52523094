"""Fits the sequential model: one process or several, one a GPU, resumable to the same result, stopped by validation.

Every random choice of an epoch follows from the seed and the epoch's number alone, so a run that was killed goes on from its
last whole epoch and ends with the very same weights.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast
from torch import nn

from ecomrec.errors import EcomrecError, memory_for
from ecomrec.models.sequential import Baskets, Sequential, batches, draw

Echo = Callable[[str], None]
EVERY_SECONDS = 30.0  # between two lines of progress


@dataclass(frozen=True)
class Task:
    """What is learned from. ends: int64 [B], basket b must predict the items of the baskets b+1 … ends[b]-1 of the same user."""

    given: Baskets
    ends: np.ndarray
    sampling: np.ndarray      # float64 [I], the distribution of the negatives
    half_life: float | None   # days, of the repeat component's counts; None: no repeat component

    @cached_property
    def teaching(self) -> np.ndarray:
        """Bool [users]: who has a purchase to predict."""
        users = len(self.given.users) - 1
        owner, found = np.repeat(np.arange(users), np.diff(self.given.users)), np.zeros(users, dtype=bool)
        found[owner[self.given.offsets[self.ends] > self.given.offsets[1:]]] = True
        return found


def fit(model: Sequential, task: Task, recipe: dict, seed: int, validate: Callable[[Sequential], float], folder: Path,
        checkpoint: Path, echo: Echo) -> dict:
    """Trains `model` in place and leaves it at its best epoch.

    validate(model) -> quality, higher is better. The checkpoint of the last whole epoch is `checkpoint`, curves for TensorBoard
    are written to `folder`/tensorboard. Returns the best epoch's number and value, the curves, and positions and seconds of training.
    Raises EcomrecError when the loss is no number or memory runs out, with the setting to change.
    """
    from torch.utils.tensorboard import SummaryWriter

    patience = InitProcessGroupKwargs(timeout=timedelta(days=1))  # of the others, while the first one fits what it alone needs
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="bf16" if torch.cuda.is_available() else "no", kwargs_handlers=[patience])
    rank, world = accelerator.process_index, accelerator.num_processes
    optimizer = torch.optim.AdamW(model.groups(recipe))
    with memory_for("while the model was laid on its device", "lower `dim` in the recipe, or [dataset] max_items"):
        # Batches differ in every size; without `dynamic` each new one would be compiled again.
        wrapped, optimizer = accelerator.prepare(torch.compile(model, dynamic=True) if recipe["compile"] else model, optimizer)
    rates = [group["lr"] for group in optimizer.param_groups]  # before a checkpoint brings its own
    state = _State()
    print_of = sha256(json.dumps([recipe, seed, world, len(task.given.items), int(task.given.items.sum()), task.half_life, _hash(model.text)], sort_keys=True).encode()).hexdigest()
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)  # to where the model lies it is copied
        if saved["of"] == print_of:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            state = _State(**saved["state"])
            echo(f"going on after epoch {state.epoch}, best so far {state.best:.4f}")
    board = None
    if accelerator.is_main_process:
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # what a killed try drew; files of the same second would be read in any order
        board = SummaryWriter(str(folder / "tensorboard"))
    for done, (loss, value) in enumerate(zip(state.losses, state.curve, strict=True), 1):
        _draw(board, done, loss, value)
    began, first = time.monotonic(), state.epoch
    while state.epoch < recipe["epochs"] and state.epoch - state.at <= recipe["patience"]:
        epoch = state.epoch
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - epoch / recipe["epochs"])
        torch.manual_seed(seed + 1000 * epoch + rank)
        started = time.monotonic()
        with memory_for(f"in epoch {epoch + 1}", f"lower `positions` ({recipe['positions']}) or `negatives` ({recipe['negatives']}) in the recipe"), _compilable():
            loss, positions = _epoch(accelerator, wrapped, task, recipe, optimizer, np.random.default_rng((seed, epoch)), epoch, echo)
        seconds = time.monotonic() - started
        state.seconds += seconds
        state.positions += positions
        with memory_for(f"while epoch {epoch + 1} was judged", "lower `max_valid_users` in the recipe"):
            # The first process judges for all: two that differed in the last digit would stop at different epochs, and wait for each other.
            value = validate(model) if accelerator.is_main_process else 0.0
        value = broadcast(torch.tensor(value, dtype=torch.float64, device=accelerator.device)).item()
        state.curve.append(round(value, 5))
        state.losses.append(round(loss, 5))
        state.epoch += 1
        if value > state.best:
            state.best, state.at = value, state.epoch
            state.kept = {name: part.detach().cpu().clone() for name, part in model.state_dict().items() if name not in ("text", "seen")}
        left = (time.monotonic() - began) / (state.epoch - first) * (recipe["epochs"] - state.epoch)
        echo(f"epoch {state.epoch} of {recipe['epochs']}: loss {loss:.4f}, validation {value:.4f}, {positions / max(seconds, 1e-9):,.0f} "
             f"positions/s, at most {left:.0f} s to go")
        _draw(board, state.epoch, loss, value)
        if board is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            temporary = checkpoint.with_suffix(".tmp")
            torch.save({"of": print_of, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": vars(state)}, temporary)
            os.replace(temporary, checkpoint)
    if board is not None:
        board.close()
    model.load_state_dict(state.kept, strict=False)
    return {"epochs": state.at, "valid_transformer": round(state.best, 5), "curve": state.curve, "losses": state.losses,
            "positions": state.positions, "fit_s": round(state.seconds, 1)}


@contextmanager
def _compilable() -> Iterator[None]:
    """Where torch cannot compile the model within it, the error says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise EcomrecError(f"torch.compile failed: {str(error).splitlines()[0]}", "install a C++ compiler (g++) on the worker, or set `compile = false` in [sequential] of the recipe") from error


def _draw(board, epoch: int, loss: float, value: float) -> None:
    """A point of each of the curves, where this process draws them."""
    if board is not None:
        board.add_scalar("loss/train", loss, epoch)
        board.add_scalar("NDCG@10/valid", value, epoch)


def _hash(values: torch.Tensor) -> str:
    return sha256(values.detach().cpu().numpy().tobytes()).hexdigest()


class _State:
    """Where training is; epochs are counted from 1, 0 is before the first."""

    def __init__(self, epoch=0, at=0, best=-1.0, kept=None, curve=(), losses=(), positions=0, seconds=0.0):
        self.epoch, self.at, self.best, self.kept = epoch, at, best, kept
        self.curve, self.losses, self.positions, self.seconds = list(curve), list(losses), positions, seconds


def _epoch(accelerator: Accelerator, model: nn.Module, task: Task, recipe: dict, optimizer, random: np.random.Generator, epoch: int,
           echo: Echo) -> tuple[float, int]:
    """One pass over the users. Returns the mean loss in nats and the positions that were trained on."""
    model.train()
    groups = [group for group in batches(task.given, recipe["positions"], random) if task.teaching[group].any()]
    world = accelerator.num_processes
    groups += [groups[number % len(groups)] for number in range(-len(groups) % world)]  # every process takes as many steps as the others, or all would wait for ever
    total, steps, positions, started = 0.0, 0, 0, time.monotonic()
    said = started
    # Every process draws every batch's numbers from one stream per batch, so what it skips does not change what it gets.
    seeds = random.integers(0, 2**63, len(groups))
    for number in range(accelerator.process_index, len(groups), world):
        batch = draw(task.given, task.ends, groups[number], recipe, task.sampling, task.half_life, np.random.default_rng(seeds[number]))
        batch = batch.to(accelerator.device)
        loss = model(batch)
        if not torch.isfinite(loss):
            raise EcomrecError(f"the loss is no longer a number in epoch {epoch + 1}, step {steps + 1}",
                               f"lower `learning_rate` ({recipe['learning_rate']}) in the recipe; the model in service stays")
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        if recipe["adversarial"]:
            # FGM (Miyato et al. 2017): the same step once more, with the items' embeddings moved where it hurts most.
            weight = accelerator.unwrap_model(model).identity.weight
            noise = recipe["adversarial"] * nn.functional.normalize(weight.grad, dim=1)
            weight.data.add_(noise)
            accelerator.backward(model(batch))
            weight.data.sub_(noise)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total, steps, positions = total + loss.item(), steps + 1, positions + len(batch.row)
        if time.monotonic() - said > EVERY_SECONDS:
            said = time.monotonic()
            done = (number + 1) / len(groups)
            echo(f"epoch {epoch + 1}: {done:.0%}, loss {total / steps:.4f}, {positions / (said - started):,.0f} positions/s, "
                 f"{(said - started) * (1 - done) / done:.0f} s to its end")
    return total / max(steps, 1), positions * world
