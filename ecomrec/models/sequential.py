"""A causal transformer over what a user did, with the user's own repeat buying as a part of the score.

A position is one day's basket or one event: the mean of its items' vectors (id embedding + projected text vector, so an
item bought rarely still has the place its words give it). Within a basket items have no order, and a household has ten
times fewer baskets than purchases. Attention is causal and sees how many steps and days lie between two positions (learned
biases per bucket, after Raffel et al. 2020, T5); every residual branch is gated (LiGR, Borisyuk et al. 2025). The vector
after position t scores what is bought in the next `horizon` days, or next at all:

    score(user, item) = l                                    when the user never bought the item, l = h_t . v_item + b_item
                        a * l + w * log1p(s * c) + r_item    when they did, c = sum of 2^(-age / half_life) over those purchases

The second line is the repeat component: personal frequency with recency (as in Hu et al. 2020, TIFU-KNN), how readily this
item is bought again (r_item, from its text and id), and less of what everybody buys (a < 1): popularity says much about
a first purchase and little about the tenth (repeat and explore modes, Ren et al. 2019, RepeatNet). It is present
while the transformer trains, so the transformer learns what personal frequency does not say; where nothing is bought twice
it is left out. Loss: softmax over the catalogue, sampled with the logQ correction (Bengio & Senécal 2008; Yi et al. 2019)
where the catalogue is larger than the sample.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn import functional as F

LAGS = 10   # log2 buckets of days between two positions
STEPS = 32  # positions between two positions; further is one bucket
PAD = 8     # a served user's positions are padded to a multiple of it


@dataclass(frozen=True)
class Baskets:
    """Distinct items per user and day, oldest first. User u has baskets users[u]:users[u+1]; basket b has items offsets[b]:offsets[b+1]."""

    users: np.ndarray    # int64 [U+1]
    days: np.ndarray     # int32 [B]
    offsets: np.ndarray  # int64 [B+1]
    items: np.ndarray    # int32 [N]
    weights: np.ndarray  # float32 [N], summed over the day's events of the item

    @cached_property
    def reach(self) -> np.ndarray:
        """Chances of the items to be drawn as a target, one after another, float64 [N+1]: weights up to 1, so that buying three of a kind is one purchase."""
        return np.concatenate(([0.0], np.cumsum(np.minimum(self.weights, 1), dtype=np.float64)))


def baskets(offsets: np.ndarray, items: np.ndarray, days: np.ndarray, weights: np.ndarray, limit: int | None = None, by_event: bool = False) -> Baskets:
    """Baskets of histories (rows sorted by user and day), only the newest `limit` of each user; `by_event`: each row is one."""
    user = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if by_event:
        counts = np.diff(offsets)
        keep = np.arange(len(user)) >= np.repeat(offsets[1:] - (counts if limit is None else np.minimum(counts, limit)), counts)
        return Baskets(_starts(np.bincount(user[keep], minlength=len(counts))), days[keep], np.arange(keep.sum() + 1), items[keep],
                       weights[keep].astype(np.float32))
    opened = np.zeros(len(user), dtype=np.int64)
    opened[1:] = (np.diff(user) != 0) | (np.diff(days) != 0)
    key = np.cumsum(opened) * (int(items.max(initial=0)) + 1) + items  # one number for day and item: sorted three times faster than three
    order = np.argsort(key)
    user, items, days, weights, key = user[order], items[order], days[order], weights[order], key[order]
    changed = np.ones(len(user), dtype=bool)
    changed[1:] = key[1:] != key[:-1]
    first = np.flatnonzero(changed)
    weights = np.add.reduceat(weights, first) if len(first) else weights
    user, items, days = user[first], items[first], days[first]
    opens = np.ones(len(user), dtype=bool)
    opens[1:] = (np.diff(user) != 0) | (np.diff(days) != 0)
    at = np.flatnonzero(opens)
    bounds, owners = np.append(at, len(user)), user[at]
    if limit is not None:
        counts = np.bincount(owners, minlength=len(offsets) - 1)
        from_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(owners))
        keep = from_end <= limit
        rows = np.repeat(keep, np.diff(bounds))
        sizes = np.diff(bounds)[keep]
        return Baskets(_starts(np.bincount(owners[keep], minlength=len(counts))), days[at][keep], _starts(sizes), items[rows],
                       weights[rows].astype(np.float32))
    return Baskets(_starts(np.bincount(owners, minlength=len(offsets) - 1)), days[at], bounds.astype(np.int64), items, weights.astype(np.float32))


def _starts(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


class Block(nn.Module):
    """Pre-norm causal attention and a GELU MLP, each behind a gate. x: [B, T, d] → [B, T, d], or [B, 1, d] where only the positions `at`, [B],
    are asked for: then their rows alone are computed, from the keys and values of all."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.lag, self.step = nn.Embedding(LAGS, heads), nn.Embedding(STEPS, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.gate, self.mlp_gate = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)
        nn.init.zeros_(self.lag.weight)
        nn.init.zeros_(self.step.weight)

    def forward(self, x: torch.Tensor, lags: torch.Tensor, back: torch.Tensor, at: torch.Tensor | None = None) -> torch.Tensor:
        """lags int64 [B, R, T] and back int64 [1 or B, R, T]: buckets of days, and positions, between the R asking positions and all."""
        wide, normed, inner = x.shape[:2], self.before(x), self.out.in_features
        asked = normed
        if at is not None:
            x, asked = _at(x, at), _at(normed, at)
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = F.linear(asked, weight[:inner], bias[:inner]).reshape(*asked.shape[:2], self.heads, -1).transpose(1, 2)
        key, value = (part.reshape(*wide, self.heads, -1).transpose(1, 2) for part in F.linear(normed, weight[inner:], bias[inner:]).chunk(2, dim=-1))
        near = self.lag(lags).permute(0, 3, 1, 2) + self.step(back.clamp(min=0, max=STEPS - 1)).permute(0, 3, 1, 2)
        weights = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5) + near
        weights = weights.masked_fill((back < 0).unsqueeze(1), -1e9).softmax(dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(*asked.shape[:2], inner)
        x = x + self.drop(torch.sigmoid(self.gate(x)) * self.out(mixed))
        return x + self.drop(torch.sigmoid(self.mlp_gate(x)) * self.mlp(self.after(x)))


def _at(rows: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Row at[b] of each b, [B, 1, …]."""
    return rows.gather(1, at.view(-1, 1, 1).expand(-1, 1, rows.shape[2]))


class UserEncoder(nn.Module):
    """Position vectors [B, T, d] and their days [B, T] to user vectors [B, T, d], or [B, d] of the positions `last` [B] alone, which is what
    serves: the last block then works for one position instead of all. This is what is exported to ONNX.

    Sequences are padded at the end, which a causal model never sees from a real position.
    """

    def __init__(self, dim: int, heads: int, blocks: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        self.first, self.last, self.drop = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, vectors: torch.Tensor, days: torch.Tensor, last: torch.Tensor | None = None) -> torch.Tensor:
        place = torch.arange(vectors.shape[1], device=vectors.device)
        x = self.drop(self.first(vectors))
        whole = self.blocks if last is None else self.blocks[:-1]
        if len(whole):
            lags, back = _lags(days.unsqueeze(2), days), (place.unsqueeze(1) - place.unsqueeze(0)).unsqueeze(0)
            for block in whole:
                x = block(x, lags, back)
        if last is None:
            return self.last(x)
        at = last.unsqueeze(1)
        x = self.blocks[-1](x, _lags(days.gather(1, at).unsqueeze(2), days), (at - place).unsqueeze(1), last)
        return self.last(x).squeeze(1)


def _lags(asking: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
    """Buckets of the days between the asking positions [B, R, 1] and all positions [B, T]: int64 [B, R, T]."""
    lag = (asking - days.unsqueeze(1)).clamp(min=0)
    return torch.log2(lag.float() + 1).ceil().long().clamp(max=LAGS - 1)


@dataclass(frozen=True)
class Batch:
    """One training step's users as tensors. Items are named by their place in `items`, the only rows of the tables that are read."""

    items: torch.Tensor       # int64 [i], ascending item indices
    flat: torch.Tensor        # int64 [N], what the positions hold …
    starts: torch.Tensor      # int64 [P+1], … position by position
    row: torch.Tensor         # int64 [P], the grid cell of each position
    column: torch.Tensor      # int64 [P]
    days: torch.Tensor        # int64 [B, T]
    asked: torch.Tensor       # int64 [n], positions that have something to predict
    wanted: torch.Tensor      # int64 [n, targets]
    drawn: torch.Tensor       # int64 [c], what the targets compete with
    correction: torch.Tensor  # float32 [c], log of the expected draws of each
    counts: torch.Tensor | None        # float32 [n, c], decayed purchases of `drawn`
    wanted_counts: torch.Tensor | None  # float32 [n, targets]

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(part if part is None else part.to(device) for part in (getattr(self, field.name) for field in fields(self))))


class Sequential(nn.Module):
    """The whole model; `text`: frozen float [I, e] vectors of the items, `counts`: int [I] purchases of them in training, `groups`: int
    [I, G], what items have in common (0: nothing known), each group with a vector of its own.

    An item without purchases has no id embedding: its text and its groups alone place it.
    """

    def __init__(self, text: torch.Tensor, counts: torch.Tensor, recipe: dict, repeats: bool = True, groups: torch.Tensor | None = None):
        super().__init__()
        dim = recipe["dim"]
        groups = torch.zeros(len(text), 0, dtype=torch.int64) if groups is None else groups
        self.register_buffer("groups_of", groups, persistent=False)
        self.groups_table = nn.ModuleList(nn.Embedding(int(column.max()) + 1, dim, padding_idx=0) for column in groups.T)
        for table in self.groups_table:
            nn.init.zeros_(table.weight)  # at first the text and the id speak
        self.register_buffer("text", text)
        self.register_buffer("seen", (counts > 0).float())
        self.identity = nn.Embedding(len(text), dim)
        self.project = nn.Linear(text.shape[1], dim, bias=False)
        shares = torch.log((counts + 1) / (counts + 1).sum()).float()
        self.bias = nn.Parameter(shares - shares.mean())
        self.encoder = UserEncoder(dim, recipe["heads"], recipe["blocks"], recipe["dropout"])
        self.forget, self.smoothing = recipe["identity_dropout"], recipe["label_smoothing"]
        if repeats:
            self.repeat = nn.Parameter(torch.tensor([1.0, np.log(recipe["repeat_scale"]), 0.3, 2.0]))  # w, log s, a, mean of r
            self.again, self.again_text = nn.Embedding(len(text), 1), nn.Linear(text.shape[1], 1, bias=False)
            nn.init.zeros_(self.again.weight)
            nn.init.zeros_(self.again_text.weight)
        else:
            self.repeat = None
        nn.init.normal_(self.identity.weight, std=0.02)  # small: training starts at popularity and habit, and adds to them
        nn.init.normal_(self.project.weight, std=0.02)

    def groups(self, recipe: dict) -> list[dict]:
        """Parameter groups of the optimiser: the few numbers of the repeat component move faster and do not decay."""
        rest = [part for name, part in self.named_parameters() if name != "repeat"]
        habit = [{"params": [self.repeat], "lr": 10 * recipe["learning_rate"], "weight_decay": 0.0}] if self.repeat is not None else []
        return [{"params": rest, "lr": recipe["learning_rate"], "weight_decay": recipe["weight_decay"]}, *habit]

    def forward(self, batch: Batch) -> torch.Tensor:
        """Mean loss of the batch in nats."""
        table, bias = self.item_vectors(batch.items), self.bias[batch.items]
        vectors = table.new_zeros((*batch.days.shape, table.shape[1]))
        vectors[batch.row, batch.column] = pool(table, batch.flat, batch.starts)
        states = self.encoder(vectors, batch.days)[batch.row[batch.asked], batch.column[batch.asked]]
        everything = len(batch.drawn) == len(batch.items)
        drawn = states @ (table if everything else table[batch.drawn]).T + (bias if everything else bias[batch.drawn])
        target = torch.einsum("nd,ntd->nt", states, table[batch.wanted]) + bias[batch.wanted]
        if batch.counts is not None:
            again = self.propensity(batch.items)
            drawn = self._with_habit(drawn, batch.counts, again[batch.drawn])
            target = self._with_habit(target, batch.wanted_counts, again[batch.wanted])
        rivals = (drawn - batch.correction).unsqueeze(1).masked_fill(batch.wanted.unsqueeze(2) == batch.drawn, -1e9)
        total = torch.logaddexp(rivals.logsumexp(dim=2), target)
        loss = total - (1 - self.smoothing) * target
        if self.smoothing:
            loss = loss - self.smoothing * drawn.mean(dim=1, keepdim=True)
        return loss.mean()

    def _with_habit(self, scores: torch.Tensor, counts: torch.Tensor, again: torch.Tensor) -> torch.Tensor:
        weight, scale, share, _ = self.repeat
        return torch.where(counts > 0, share * scores + weight * torch.log1p(scale.exp() * counts) + again, scores)

    def habit(self) -> tuple[float, float, float]:
        """w, s and a of the repeat component; without one, what adds nothing."""
        if self.repeat is None:
            return 0.0, 1.0, 1.0
        weight, scale, share, _ = self.repeat.detach().cpu().tolist()
        return weight, float(np.exp(scale)), share

    def propensity(self, items: torch.Tensor | None = None) -> torch.Tensor:
        """r, how readily each item is bought again, [I]."""
        items = torch.arange(len(self.text), device=self.text.device) if items is None else items
        if self.repeat is None:
            return torch.zeros(len(items), device=self.text.device)
        return (self.again(items) + self.again_text(self.text[items])).squeeze(1) + self.repeat[3]

    def item_vectors(self, items: torch.Tensor | None = None) -> torch.Tensor:
        """[I, d], used both for what was bought and for what may be bought. In training some items forget who they are (recipe:
        identity_dropout), so that the text learns to speak for itself."""
        items = torch.arange(len(self.text), device=self.text.device) if items is None else items
        known = self.seen[items]
        if self.training and self.forget:
            known = known * (torch.rand_like(known) >= self.forget)
        vectors = self.identity(items) * known.unsqueeze(1) + self.project(self.text[items])
        for place, table in enumerate(self.groups_table):
            vectors = vectors + table(self.groups_of[items, place])
        return vectors


def pool(table, flat, starts):
    """Mean vectors of bags of items, torch [n, d]: bag i is flat[starts[i]:starts[i+1]]."""
    return F.embedding_bag(flat, table, starts[:-1], mode="mean")


def pad(given: Baskets, rows: np.ndarray, width: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For the users `rows`: basket numbers of the real positions [n], their place (row, column) in a [len(rows), T] grid, and days [.., T];
    T is `width`, or the longest user's."""
    counts = (given.users[rows + 1] - given.users[rows]).astype(np.int64)
    width = width or max(int(counts.max(initial=0)), 1)
    column = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    row = np.repeat(np.arange(len(rows)), counts)
    basket = np.repeat(given.users[rows], counts) + column
    days = np.zeros((len(rows), width), dtype=np.int64)
    days[row, column] = given.days[basket]
    return basket, row, column, days


def flatten(given: Baskets, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items of the baskets `chosen` one after another [N], the starts [len(chosen)+1], and their weights [N]."""
    sizes = given.offsets[chosen + 1] - given.offsets[chosen]
    starts = _starts(sizes)
    flat = np.repeat(given.offsets[chosen] - starts[:-1], sizes) + np.arange(starts[-1])
    return given.items[flat].astype(np.int64), starts, given.weights[flat]


def batches(given: Baskets, positions: int, random: np.random.Generator) -> list[np.ndarray]:
    """Users in batches of like length, each of about `positions` baskets with padding: little of a batch is empty."""
    counts = np.diff(given.users)
    users = np.flatnonzero(counts > 0)
    users = users[np.argsort(counts[users] + random.random(len(users)) * 3, kind="stable")]
    groups, start = [], 0
    for stop in range(1, len(users) + 1):
        if stop == len(users) or (stop - start + 1) * counts[users[stop]] > positions:
            groups.append(users[start:stop])
            start = stop
    return [groups[number] for number in random.permutation(len(groups))]


def draw(given: Baskets, ends: np.ndarray, users: np.ndarray, recipe: dict, sampling: np.ndarray, half_life: float | None,
         random: np.random.Generator) -> Batch:
    """The training step of `users`, of whom one at least has something to predict. See `ecomrec.trainer.Task`."""
    basket, row, column, days = pad(given, users)
    # What each position must predict: `targets` draws from the items of its window.
    low, high = given.offsets[basket + 1], given.offsets[ends[basket]]
    asked = np.flatnonzero(high > low)
    from_, to = given.reach[low[asked], None], given.reach[high[asked], None]
    drawn = np.searchsorted(given.reach, from_ + random.random((len(asked), recipe["targets"])) * (to - from_), side="right") - 1
    drawn = np.minimum(drawn, high[asked, None] - 1)  # a sum may round up to the next one's
    wanted = given.items[drawn].astype(np.int64)
    flat, starts, weights = flatten(given, basket)
    if recipe["negatives"] < len(sampling):
        cumulative = np.cumsum(sampling)
        negatives = np.unique(np.minimum(np.searchsorted(cumulative, random.random(recipe["negatives"]) * cumulative[-1], side="right"), len(sampling) - 1))
        # Expected draws, as each rival is counted once: 1 - (1 - q)^n.
        correction = np.log(-np.expm1(recipe["negatives"] * np.log1p(-np.minimum(sampling[negatives], 0.999)))).astype(np.float32)
        items = np.unique(np.concatenate((flat, wanted.ravel(), negatives)))
    else:
        items = negatives = np.arange(len(sampling))
        correction = np.zeros(len(items), dtype=np.float32)
    place = np.empty(len(sampling), dtype=np.int64)
    place[items] = np.arange(len(items))
    counts = wanted_counts = None
    if half_life is not None:
        candidates, where = np.unique(np.concatenate((negatives, wanted.ravel())), return_inverse=True)
        # Decayed counts of the candidates at each position: [T, T] decay times [T, candidates] purchases, per user.
        bought = _counts(flat, np.repeat(np.arange(len(basket)), np.diff(starts)), weights, row, column, days, candidates, half_life)
        bought = bought[row[asked], column[asked]]
        where = torch.from_numpy(where)
        counts, wanted_counts = bought[:, where[:len(negatives)]], bought.gather(1, where[len(negatives):].reshape(wanted.shape))
    arrays = (items, place[flat], starts, row, column, days, asked, place[wanted], place[negatives], correction)
    return Batch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in arrays), counts, wanted_counts)


def _counts(flat, owner, weights, row, column, days, candidates, half_life) -> torch.Tensor:
    place = np.full(int(max(flat.max(), candidates.max())) + 1, -1)
    place[candidates] = np.arange(len(candidates))
    keep = place[flat] >= 0
    bought = torch.zeros((*days.shape, len(candidates)))
    bought[row[owner[keep]], column[owner[keep]], place[flat[keep]]] = torch.from_numpy(weights[keep])
    lag = days[:, :, None] - days[:, None, :]
    decay = np.where(lag >= 0, np.exp2(-np.maximum(lag, 0) / half_life), 0.0).astype(np.float32)
    # Positions after a padded end have day 0 and are never read.
    return torch.bmm(torch.from_numpy(decay), bought)


def means(table: np.ndarray, flat: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """As `pool`, without torch, which would start threads of its own beside each of the caller's: float32 [n, d]. A sparse product reads
    each row once and never lays them out side by side."""
    sizes = np.diff(starts)
    return sparse.csr_matrix((np.repeat(np.float32(1) / sizes.astype(np.float32), sizes), flat, starts), shape=(len(sizes), len(table))) @ table


def user_vectors(encode, table: np.ndarray, given: Baskets, rows_at_once: int = 2048) -> np.ndarray:
    """The newest vector of each user, float32 [U, d]; zeros for a user without baskets.

    encode(vectors float32 [B, T, d], days int64 [B, T], last int64 [B]) -> float32 [B, d], numpy in and out; users of like length share a call.
    How far a user is padded depends on their own length alone: with another T a vector may differ in its last digit, or by a step where it is quantised.
    """
    counts = np.diff(given.users)
    result = np.zeros((len(counts), table.shape[1]), dtype=np.float32)
    widths = -(-counts // PAD) * PAD
    for width in np.unique(widths[counts > 0]).tolist():
        alike, most = np.flatnonzero(widths == width), max(rows_at_once // width, 1)
        for rows in np.split(alike, range(most, len(alike), most)):
            basket, row, column, days = pad(given, rows, width)
            flat, starts, _ = flatten(given, basket)
            vectors = np.zeros((*days.shape, table.shape[1]), dtype=np.float32)
            vectors[row, column] = means(table, flat, starts)
            result[rows] = encode(vectors, days, counts[rows] - 1)
    return result
