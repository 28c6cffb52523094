"""What a sequential model keeps of each item, in one file: its id, its vector, and what adds to its score.

The vectors are float32, or whole numbers of -127 to 127 and one scale a row: a quarter of the bytes. They are multiplied out when the file
is read: whatever asks for a vector or a score gets the same numbers, and on a CPU the product of floats is the faster one (decision 0038).
"""

from pathlib import Path

import numpy as np

FILE = "tables.npz"
COLUMNS = ("item_ids", "bias", "again", "popularity")  # see `ecomrec.models.serving.Sequential`
LEVELS = 127


def save(path: Path, table: np.ndarray, columns: dict[str, np.ndarray], int8: bool = False) -> np.ndarray:
    """Writes `table` float32 [I, d] and the COLUMNS [I]; returns the table as it will be read."""
    if not int8:
        np.savez(path, table=table, **columns)
        return table
    scale = np.maximum(np.abs(table).max(axis=1), np.finfo(np.float32).tiny) / np.float32(LEVELS)
    small = np.rint(table / scale[:, None]).astype(np.int8)
    np.savez(path, table=small, scale=scale, **columns)
    return small * scale[:, None]


def load(path: Path) -> dict[str, np.ndarray]:
    """`table` float32 [I, d] and the COLUMNS."""
    with np.load(path, allow_pickle=False) as data:
        table = data["table"] * data["scale"][:, None] if "scale" in data else data["table"]
        return {"table": table, **{name: data[name] for name in COLUMNS}}
