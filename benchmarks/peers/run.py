"""One peer on one data set, in the peers' own virtual environment; it imports nothing of ecomrec.

    /tmp/peers/bin/python benchmarks/peers/run.py FOLDER MODEL OUT [--seed 1] [--epochs 100] [--seconds 3600] [--factors 256] [--as-it-comes]

FOLDER holds rows.npz (user, item, day, time, part: 0 train, 1 valid, 2 test; exclude: whether what was bought is left out), as
`benchmarks.recommender` writes it. The models' settings are one for all data sets, those of transformer_benchmark's runs on the Amazon sets
(github.com/blondered/transformer_benchmark, configs/paper/loo): RecTools reads the newest 51 events of a user. Writes OUT.npz (users,
ranked: their 10 items for the test part, from the epoch that is best on validation) and OUT.json (the curve: epoch, valid NDCG@10,
seconds and CPU seconds of training). OUT is written after each validated epoch, so a run that is cut short leaves what it has; only one
that ended by itself says `finished`, and not one whose SECONDS were over.

RecTools computes the feed-forward part and the loss of every padded position and throws them away; here they are computed where there is a
target, which is the same (but for which units a dropout draws) several times faster. `--as-it-comes` leaves RecTools as it is: for times, which must be its own.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

K = 10
PATIENCE = 10  # epochs without a better validation score, at one that is judged, before it ends; judged are the first three and every third


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", choices=["sasrec", "esasrec"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--factors", type=int, default=256)
    parser.add_argument("--as-it-comes", action="store_true")
    asked = parser.parse_args()
    rows = np.load(asked.folder / "rows.npz")
    train, all_known = rows["part"] < 1, rows["part"] < 2
    exclude = bool(rows["exclude"])
    valid, test = np.unique(rows["user"][rows["part"] == 1]), np.unique(rows["user"][rows["part"] == 2])
    curve, best, at = [], -1.0, 0

    def judge(recommend, note: dict) -> int:
        """The epoch that is best so far; its lists are kept."""
        nonlocal best, at
        value = ndcg(recommend(valid, train), valid, rows)
        curve.append({**note, "valid_ndcg10": value})
        print(curve[-1], flush=True)
        if value > best:
            best, at = value, note["epoch"]
            np.savez(f"{asked.out}.npz", users=test, ranked=recommend(test, all_known))
        Path(f"{asked.out}.json").write_text(json.dumps({"model": asked.model, "seed": asked.seed, "curve": curve}, indent=1))
        return at

    whole = sasrec(asked, rows, train, exclude, judge)
    Path(f"{asked.out}.json").write_text(json.dumps({"model": asked.model, "seed": asked.seed, "curve": curve, "finished": whole}, indent=1))


def ndcg(ranked: np.ndarray, users: np.ndarray, rows) -> float:
    held = rows["part"] == 1
    wanted = set(zip(rows["user"][held].tolist(), rows["item"][held].tolist(), strict=True))
    sizes = np.bincount(np.array([user for user, _ in wanted]), minlength=int(users.max()) + 1)
    discount = 1 / np.log2(np.arange(2, K + 2))
    found = np.array([[(user, item) in wanted for item in row] for user, row in zip(users.tolist(), ranked.tolist(), strict=True)])
    return float(((found * discount).sum(1) / np.cumsum(discount)[np.minimum(sizes[users], K) - 1]).mean())


def sasrec(asked, rows, train, exclude, judge) -> bool:
    """RecTools' SASRec and eSASRec (the same with LiGR layers), both with sampled softmax. Whether it came to its end."""
    import torch
    from pytorch_lightning import seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    from rectools.models.nn.transformers.lightning import TransformerLightningModule
    from rectools.models.nn.transformers.ligr import LiGRLayers

    class Asked(torch.nn.Module):
        """The feed-forward part of the only block at the positions `here`, where they are named: nothing reads the others."""

        def __init__(self, whole):
            super().__init__()
            self.whole, self.here = whole, None

        def forward(self, seqs):
            if self.here is None:
                return self.whole(seqs)
            found = torch.zeros_like(seqs)
            found[self.here] = self.whole(seqs[self.here])
            return found

    class WhereThereIsATarget(TransformerLightningModule):
        """Its training step without the padded positions, which weigh nothing in the loss; scores of the whole catalogue are one matrix product, of which the sampled ones are read."""

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            block, = self.torch_model.transformer_layers.transformer_blocks
            block.feed_forward = self.asked = Asked(block.feed_forward)

        def training_step(self, batch, batch_idx):
            here, net = batch["y"] != 0, self.torch_model
            self.asked.here = here
            items = net.item_model.get_all_embeddings()
            sampled = torch.cat([batch["y"][here].unsqueeze(-1), batch["negatives"][here]], dim=-1)
            states, self.asked.here = net.encode_sessions(batch, items)[here], None
            logits = (states @ items.T).gather(1, sampled) / self.logits_t
            return self.loss_calculator(logits.unsqueeze(0), batch["y"][here].unsqueeze(0), batch["yw"][here].unsqueeze(0))

    torch.set_num_threads(asked.threads or torch.get_num_threads())
    seed_everything(asked.seed)
    items = int(rows["items"])
    # Milliseconds of the row's place break ties, so that events of one moment keep their order.
    when = pd.to_datetime(rows["time"], unit="s") + pd.to_timedelta(np.arange(len(rows["time"])) % 900_000, unit="us")
    frame = pd.DataFrame({Columns.User: rows["user"], Columns.Item: rows["item"], Columns.Datetime: when, Columns.Weight: 1.0})
    frame["known"] = rows["item"] < items
    own = {"esasrec": {"transformer_layers_type": LiGRLayers, "transformer_layers_kwargs": {"ff_factors_multiplier": 4}, "use_key_padding_mask": True}}.get(asked.model, {})
    if not asked.as_it_comes:
        own["lightning_module_type"] = WhereThereIsATarget
    model = SASRecModel(n_factors=asked.factors, n_blocks=1, n_heads=1, dropout_rate=0.2, session_max_len=50, lr=1e-3,
                        batch_size=128, loss="sampled_softmax", n_negatives=256, epochs=1, recommend_batch_size=512, **own)
    fitted = Dataset.construct(frame[train & frame["known"]].drop(columns="known"))
    seconds = cpu = 0.0
    for epoch in range(1, asked.epochs + 1):
        started, used = time.monotonic(), time.process_time()
        if epoch == 1:
            model.fit(fitted)
        else:
            model.fit_partial(fitted, min_epochs=1, max_epochs=1)
        seconds, cpu = seconds + time.monotonic() - started, cpu + time.process_time() - used

        def recommend(who, known):
            data = Dataset.construct(frame[known & frame["known"]].drop(columns="known"))
            who = who[np.isin(who, frame[Columns.User][known & frame["known"]])]
            lists = model.recommend(who, data, k=K, filter_viewed=exclude, on_unsupported_targets="ignore")
            return lists

        def padded(who, known):
            lists = recommend(who, known)
            ranked = np.full((len(who), K), -1, dtype=np.int64)
            ranked[np.searchsorted(who, lists[Columns.User].to_numpy()), lists[Columns.Rank].to_numpy() - 1] = lists[Columns.Item].to_numpy()
            return ranked

        if epoch <= 3 or epoch % 3 == 0 or seconds > asked.seconds:
            found = judge(padded, {"epoch": epoch, "fit_s": round(seconds, 1), "cpu_s": round(cpu, 1)})
            if epoch - found >= PATIENCE:
                break
        if seconds > asked.seconds:
            return False
    return True


if __name__ == "__main__":
    main()
