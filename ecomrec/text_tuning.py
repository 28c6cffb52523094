"""The recommender's text encoder, fine-tuned on what the shop's users buy one after the other, before the transformer reads its vectors.

To a pretrained encoder texts are near that say the same; that a razor is followed by blades it must learn here. Pairs of an item and one
of the user's next basket (or next event) are drawn from the training part; InfoNCE with the other pairs of the batch as negatives (van den Oord et al.
2018), corrected for how often each is drawn (logQ: Bengio & Senécal 2008; Yi et al. 2019). Layers, LoRA and rates are those of `models/encoder.py`.

Only the transformer reads these vectors. Where products are compared by their texts alone (new ones at a publication), the encoder as it was
places them, so no tuned encoder is served.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from ecomrec.errors import EcomrecError
from ecomrec.models.encoder import layer_groups, load_encoder, merge, precision, prepare, warm_linear
from ecomrec.models.sequential import Baskets
from ecomrec.progress import Progress
from ecomrec.settings import Settings
from ecomrec.text import padded, pooled, vectors_of

Echo = Callable[[str], None]


def draw(given: Baskets, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` pairs of distinct items, int64 [n] each: one of a basket and one of the same user's next; fewer where the same was bought again, none where nobody came twice."""
    last = np.zeros(len(given.days), dtype=bool)
    last[given.users[1:][np.diff(given.users) > 0] - 1] = True
    came_again = np.flatnonzero(~last)
    if not len(came_again):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    basket = random.choice(came_again, count)
    left, right = (given.items[given.offsets[which] + (random.random(count) * (given.offsets[which + 1] - given.offsets[which])).astype(np.int64)].astype(np.int64)
                   for which in (basket, basket + 1))
    return left[left != right], right[left != right]


def encode(settings: Settings, texts: list[str], given: Baskets, rules: dict, echo: Echo = print) -> np.ndarray:
    """Unit vectors float32 [len(texts), d] of the tuned encoder, row i for texts[i]. `rules`: the section [text] of the recipe. Seeded.

    Raises SettingsError when the encoder cannot be loaded, EcomrecError when the loss is no longer a number.
    """
    own, random = rules["tune"], np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, encoder = load_encoder(settings.encoder, own["dropout"])
    encoder = prepare(encoder, own).to(device).train()
    left, right = draw(given, own["pairs"], random)
    distinct, text_of = np.unique(texts, return_inverse=True)
    left, right = text_of[left], text_of[right]
    left, right = left[left != right], right[left != right]  # two items of one text have nothing to learn from each other
    often = np.log(np.maximum(np.bincount(right, minlength=len(distinct)), 1) / max(len(right), 1)).astype(np.float32)
    tokens = tokenizer(distinct.tolist(), truncation=True, max_length=rules["max_length"])["input_ids"]
    steps, kind = len(left) // own["batch"], precision(own)
    optimizer = torch.optim.AdamW(layer_groups(encoder, own["learning_rate"], own["layer_decay"]), weight_decay=own["weight_decay"])
    schedule, told = warm_linear(optimizer, max(steps, 1), own["warmup"]), Progress(echo, "texts", steps, own["batch"], "pairs")
    for step in range(steps):
        rows = slice(step * own["batch"], (step + 1) * own["batch"])
        asked, place = np.unique(np.concatenate((left[rows], right[rows])), return_inverse=True)  # each text once
        batch = padded([tokens[row] for row in asked], device)
        with torch.autocast(device, kind, enabled=kind is not torch.float32):
            vectors = pooled(encoder, *batch)[torch.from_numpy(place).to(device)]
        scores = vectors[:own["batch"]] @ vectors[own["batch"]:].T / own["temperature"] - torch.from_numpy(often[right[rows]]).to(device)
        twice = (right[rows][None, :] == right[rows][:, None]) & ~np.eye(own["batch"], dtype=bool)  # the answer again is no rival
        loss = F.cross_entropy(scores.masked_fill(torch.from_numpy(twice).to(device), -1e4), torch.arange(own["batch"], device=device))
        if not torch.isfinite(loss):
            raise EcomrecError(f"the loss of the text encoder is no longer a number in step {step + 1}",
                               f"lower [text.tune] learning_rate ({own['learning_rate']}) in recommender.toml; the model in service stays")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([part for part in encoder.parameters() if part.requires_grad], 1.0)
        optimizer.step()
        schedule.step()
        told(step + 1, loss.detach())
    if not steps:
        echo(f"texts: fewer than {own['batch']} times something was bought after something else: the encoder stays as it is")
    return vectors_of(merge(encoder), tokenizer, texts, rules["max_length"])
