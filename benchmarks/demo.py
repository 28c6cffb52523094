"""How long `make demo` takes: in a fresh clone with an empty home (cold), again (second), and installed but without data (warm).

    python -m benchmarks.demo [folder]

The clone is of the committed HEAD, so commit first. The folder (default: a temporary one) is kept when something fails.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import ROOT, figure, write

COMMAND = "python -m benchmarks.demo"


def make_demo(clone: Path, home: Path) -> tuple[float, dict]:
    """Seconds of one `make demo`, and the demo.json that it wrote. Raises CalledProcessError when it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ECOMREC_", "AIRFLOW", "VIRTUAL_ENV", "PYTHON"))}
    began = time.monotonic()
    subprocess.run(["make", "demo", f"PYTHON={sys._base_executable}"], cwd=clone, check=True, stdin=subprocess.DEVNULL,
                   env={**environment, "HOME": str(home), "CI": "1"})
    return time.monotonic() - began, json.loads((clone / ".ecomrec" / "demo.json").read_text(encoding="utf-8"))


def main(folder: Path) -> None:
    """Three demos in one clone; writes results/demo.json."""
    clone, home = folder / "ecomrec", folder / "home"
    home.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    print("== cold: a fresh clone, an empty home", flush=True)
    cold_s, cold = make_demo(clone, home)
    print("== second: the same again", flush=True)
    second_s, second = make_demo(clone, home)
    print("== warm: installed, no data", flush=True)
    shutil.rmtree(clone / ".ecomrec")
    warm_s, warm = make_demo(clone, home)
    assert second["resumed"] and not warm["resumed"] and not cold["resumed"]
    peaks = [cold["peak_pss_gb"], second["peak_pss_gb"], warm["peak_pss_gb"]]
    cases = {"cold_s": figure(cold_s, "s"), "warm_s": figure(warm_s, "s"), "second_s": figure(second_s, "s"),
             # PSS, so that pages that forked processes share are counted once.
             "peak_rss_gb": figure(max(peaks), "GB", runs=len(peaks), spread=(max(peaks) - min(peaks)) / sorted(peaks)[1])}
    for stage in warm["stages"]:
        cases[f"warm.{stage['stage']}"] = figure(stage["seconds"], "s") | ({"rows": stage["rows"]} if stage["rows"] is not None else {})
    print(write("demo", COMMAND, cases))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="ecomrec-demo-")))
