"""One piece of work that several processes of this machine do together, as `torchrun` starts them, and how a process ends with its parent.

They are commands, and neither forks nor copies of this process: torch forbids the ones after its first use of a GPU, and an Airflow task cannot
be the others, as its main program must not be imported a second time.
"""

import ctypes
import json
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from ecomrec.errors import EcomrecError, SettingsError

PR_SET_PDEATHSIG = 1
WORK, RESULT, WRONG = "work.pickle", "result.pickle", "wrong.json"


def end_with(parent: int) -> bool:
    """From here on this process is asked to end (SIGTERM) when its parent dies, killed or not. False where it has died before."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


def together(work: Callable, processes: int, *arguments):
    """Calls `work(*arguments)`, a function of a module, in so many processes, each with a GPU of its own where there are some; returns what it returned in the first.

    What it prints goes where this process prints. When one process fails the others are stopped and its EcomrecError is raised here; when this process
    dies, so do they. Raises SettingsError where there are fewer GPUs than processes.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if 0 < (gpus := torch.cuda.device_count()) < processes:
        raise SettingsError(f"ECOMREC_TRAIN_PROCESSES is {processes}, and this worker has {gpus} GPU(s)", "set it to 0: one process for each GPU")
    with tempfile.TemporaryDirectory(prefix="ecomrec-processes-") as folder:
        (Path(folder) / WORK).write_bytes(pickle.dumps((work, arguments)))
        config = LaunchConfig(1, 1, processes, run_id=uuid4().hex, rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", max_restarts=0)
        try:
            elastic_launch(config, sys.executable)("-u", "-m", __name__, folder, str(os.getpid()))
        except ChildFailedError as error:
            if (wrong := Path(folder) / WRONG).is_file():
                raise EcomrecError(*json.loads(wrong.read_text(encoding="utf-8"))) from None
            number, failure = error.get_first_failure()
            raise EcomrecError(f"process {number} of the {processes} that work together ended with {failure.exitcode}",
                               "its log above says why; ECOMREC_TRAIN_PROCESSES=1 trains in one process") from error
        return pickle.loads((Path(folder) / RESULT).read_bytes())


def first() -> bool:
    """Whether this process is the first of those that work together, the one that writes what is kept; also where it is alone."""
    return os.environ.get("RANK", "0") == "0"


def main(folder: str, parent: str) -> int:
    """One of the processes."""
    if not end_with(int(parent)):
        return 1
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    work, arguments = pickle.loads((Path(folder) / WORK).read_bytes())
    try:
        result = work(*arguments)
    except EcomrecError as error:
        mine = Path(folder) / f"{WRONG}.{os.getpid()}"
        mine.write_text(json.dumps([error.message, error.remedy]), encoding="utf-8")
        os.replace(mine, Path(folder) / WRONG)
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    if first():
        (Path(folder) / RESULT).write_bytes(pickle.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
