"""Takes a picture of a DAG run in the Airflow UI with headless Chromium, driven over its DevTools protocol.

    python -m benchmarks.screenshot publish_recommendations docs/images/airflow-day.png [run_id]

The system must be up (`ecomrec up`); without a run id the newest successful run is taken. Chromium is the Debian package
`chromium`. Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from websockets.sync.client import connect

from ecomrec import runtime
from ecomrec.airflow_api import Airflow
from ecomrec.settings import Settings

SIZE = (1600, 900)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0", f"--window-size={SIZE[0]},{SIZE[1]}"]
SETTLE_SECONDS = 6  # the graph lays itself out after the page has loaded
GRAPH = "localStorage.setItem('default_dag_view', JSON.stringify('graph'))"  # the UI opens with its grid otherwise


def take(url: str, token: str, page: str, image: Path, script: str = "") -> Path:
    """Opens `url` + `page` logged in with `token` (after running `script` once on that origin) and writes a PNG to `image`."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_endpoint(Path(profile), process), max_size=None, proxy=None) as socket:
                numbers = itertools.count(1)

                def call(method: str, session: str | None = None, **parameters) -> dict:
                    number = next(numbers)
                    socket.send(json.dumps({"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})))
                    while (answer := json.loads(socket.recv(timeout=60))).get("id") != number:
                        pass
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    return answer["result"]

                target = call("Target.createTarget", url="about:blank")["targetId"]
                session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
                call("Emulation.setDeviceMetricsOverride", session, width=SIZE[0], height=SIZE[1], deviceScaleFactor=1, mobile=False)
                call("Network.setCookie", session, name="_token", value=token, url=url, path="/")
                call("Page.enable", session)
                if script:
                    call("Page.addScriptToEvaluateOnNewDocument", session, source=script)
                call("Page.navigate", session, url=url + page)
                time.sleep(SETTLE_SECONDS)
                shot = call("Page.captureScreenshot", session, format="png")["data"]
        finally:
            process.terminate()
            process.wait(timeout=20)
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(base64.b64decode(shot))
    return image


def _endpoint(profile: Path, process: subprocess.Popen) -> str:
    """The browser's WebSocket address, which it writes into its profile when it is ready."""
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while not port_file.exists() or len(port_file.read_text().split()) < 2:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"chromium did not start (exit code {process.poll()})")
        time.sleep(0.1)
    port, path = port_file.read_text().split()[:2]
    return f"ws://127.0.0.1:{port}{path}"


def main(dag_id: str, image: str, run_id: str | None = None) -> None:
    """Pictures the graph of a run of `dag_id`."""
    settings = Settings()
    place = runtime.up(settings, detach=True)
    airflow = Airflow(place["url"], place["user"], place["password"])
    if run_id is None:
        ended = [run for run in airflow.runs(dag_id) if run["state"] == "success"]
        if not ended:
            raise SystemExit(f"{dag_id} has no successful run yet: `make demo` makes one")
        run_id = ended[0]["dag_run_id"]
    print(take(place["url"], airflow.token(), f"/dags/{dag_id}/runs/{quote(run_id, safe='')}", Path(image), GRAPH))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:4])
