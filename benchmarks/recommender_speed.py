"""Time to the quality of RecTools' SASRec on amazon-beauty, and how much of the machine's matrix speed training uses. Alone on the machine.

    python -m benchmarks.recommender_speed --peers PYTHON [--seconds 900] [--work FOLDER]

The peer trains from nothing for so many seconds (sampled softmax, d = 128, length 50, batch 128, as published); then ours, whole: texts
encoded, EASE tuned, the transformer trained. Both judge themselves by NDCG@10 on the same validation users: ours after each epoch, the peer after its first
three, every third and its last. For the peer's best so far: when it got there, and when ours passed it. Floating-point operations: counted by torch over one epoch, forward
and backward; the machine's speed: a float32 matrix product of 2048 x 2048 in the same process.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import figure, write
from benchmarks.recommender import one_point, prepared
from ecomrec import recommender
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.recommender_speed"
NAME = "amazon-beauty"


def ours(settings: Settings, data: Path, out: Path) -> tuple[list[dict], dict]:
    """The curve of our training, `[{"seconds", "valid_ndcg10"}]` counted from its very start, and what `train` returns."""
    curve, started = [], time.monotonic()

    def note(line: str) -> None:
        print(line, flush=True)
        if line.startswith("epoch ") and "validation" in line:
            curve.append({"seconds": round(time.monotonic() - started, 1), "valid_ndcg10": float(line.split("validation ")[1].split(",")[0])})

    return curve, recommender.train(settings, data, out, note)


def operations(settings: Settings, data: Path, out: Path, text: Path) -> float:
    """Floating-point operations of one epoch of the transformer; `text`: the items' vectors, as encoding them is not part of it."""
    vectors = np.load(text)
    recommender.encode_texts = lambda *_: vectors
    rules = one_point(recommender.recipe())
    rules["sequential"]["by_user"]["epochs"] = 1
    with FlopCounterMode(display=False) as counter:
        recommender.train(settings, data, out, lambda line: None, rules)
    return float(counter.get_total_flops())


def peak() -> float:
    """Float32 operations a second of a large matrix product."""
    one, other = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        one @ other
        best = max(best, 2 * 2048**3 / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help="python of the peers' environment (see benchmarks/recommender.py); without it nothing is done")
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--work", type=Path, default=Path(".ecomrec/benchmark"))
    asked = parser.parse_args()
    if not asked.peers:
        print("recommender_speed is left out: --peers names no environment of the peers")
        return
    settings = Settings(_env_file=None, home=asked.work / "home")
    data, out = prepared(settings, NAME, asked.work), asked.work / "speed"
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run([asked.peers, str(Path(__file__).parent / "peers/run.py"), str(data), "sasrec", str(out / "sasrec"), "--seconds", str(asked.seconds),
                    "--factors", "128", "--as-it-comes"], check=True)
    theirs = json.loads((out / "sasrec.json").read_text())["curve"]
    curve, done = ours(settings, data, out / "ours")
    epoch_s = done["fit_s"] / len(done["curve"])
    share = operations(settings, data, out / "counted", out / "ours" / recommender.TEXT) / epoch_s / peak()
    best = max(theirs, key=lambda point: point["valid_ndcg10"])
    passed = next((point for point in curve if point["valid_ndcg10"] >= best["valid_ndcg10"]), None)
    if passed is None:
        raise SystemExit(f"ours did not reach the peer's {best['valid_ndcg10']:.4f}: its curve is {curve}")
    cases = {"sasrec_seconds": {**figure(best["fit_s"], "s"), "valid_ndcg10": round(best["valid_ndcg10"], 5), "epochs": best["epoch"], "stopped_after_s": asked.seconds},
             "our_seconds": {**figure(passed["seconds"], "s, texts and EASE included"), "valid_ndcg10": passed["valid_ndcg10"], "epoch": curve.index(passed) + 1},
             "our_epoch_s": figure(epoch_s, "s"), "sasrec_epoch_s": figure(theirs[-1]["fit_s"] / theirs[-1]["epoch"], "s"),
             "ratio": figure(best["fit_s"] / passed["seconds"], "x"), "tokens_per_s": figure(done["positions"] / done["fit_s"], "positions/s"),
             "matmul_share": {**figure(share, "share of the machine's float32 matrix speed"), "gflops": round(peak() / 1e9, 1)}}
    print(json.dumps({name: case["value"] for name, case in cases.items()}, indent=1))
    print(write("recommender_speed", f"{COMMAND} --peers PYTHON --seconds {asked.seconds:g}", {**cases, "our_curve": {"points": curve}, "sasrec_curve": {"points": theirs}}))


if __name__ == "__main__":
    main()
