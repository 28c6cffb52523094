"""`core.items.embedding`: what each product means, for search in SQL. Only products whose text or model changed are embedded."""

import io
import struct
import time

import numpy as np

from ecomrec import database
from ecomrec.registry import fetch
from ecomrec.search import hybrid
from ecomrec.search.pairs import PRODUCT, products
from ecomrec.settings import Settings

BLOCK = 20000  # products embedded and written in one transaction: a killed run goes on where it was
COLUMNS = ("item_id", "key", "embedding")
HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)


def version(model: dict) -> str:
    """What a retriever is called beside what it made."""
    return f"retriever/{model['version']}"


def embed(settings: Settings, model: dict | None, echo=print) -> dict:
    """Brings every product's embedding up to date with `model`, the retriever in service, and its HNSW index into being.

    Returns products embedded and seconds; `{"model": None}` without a model, or of one without an encoder.
    """
    started, done = time.monotonic(), 0
    served = hybrid.load(fetch(settings, model["uri"]), settings.threads) if model else None
    if served is None or served.encoder is None:
        return {"model": None, "embedded": 0, "seconds": 0.0}
    while True:
        with database.connect(settings.shop_dsn, application="ecomrec embed") as connection:
            database.lock(connection, "embeddings")
            rows = database.table(connection, "search/stale", {"model": version(model), "most": BLOCK}, PRODUCT)
            if not len(rows):
                _index(connection, served.encode([""]).shape[1])
                break
            vectors = served.encode(products(rows).texts)
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMPORARY TABLE embedded (item_id text, key text, embedding vector) ON COMMIT DROP")
                cursor.copy_expert("COPY embedded (item_id, key, embedding) FROM STDIN (FORMAT binary)",
                                   _binary(rows["item_id"].to_pylist(), rows["key"].to_pylist(), vectors))
            done += database.execute(connection, "search/embed")
            echo(f"embed: {done:,} products, {done / (time.monotonic() - started):,.0f} products/s")
    return {"model": version(model), "embedded": done, "seconds": round(time.monotonic() - started, 1)}


def read_vectors(connection) -> np.ndarray:
    """Float32 [N, d] of the products in stock that have one, ordered as sql/search/in_stock.sql; by binary COPY, a hundred times faster than text."""
    stream = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({(database.SQL_FOLDER / 'search/vectors.sql').read_text(encoding='utf-8').strip()}) TO STDOUT (FORMAT binary)", stream)
    body = stream.getbuffer()[len(HEAD):-2]
    if not len(body):
        return np.zeros((0, 1), dtype=np.float32)
    # A row: fields int16 = 1, length int32, then pgvector's own form: dimensions int16, unused int16, float32 each; all big-endian.
    dimensions = int.from_bytes(body[6:8], "big")
    table = np.frombuffer(body, dtype=np.dtype([("head", "V10"), ("vector", ">f4", (dimensions,))]))
    return table["vector"].astype(np.float32)


def _binary(items: list[str], keys: list[str], vectors: np.ndarray):
    """The rows (item_id, key, embedding) in Postgres' binary COPY format."""
    stream = io.BytesIO()
    stream.write(HEAD)
    wide = np.ascontiguousarray(vectors, dtype=">f4")
    size = 4 * wide.shape[1]
    for item, key, vector in zip(items, keys, wide, strict=True):
        one, two = item.encode(), key.encode()
        stream.write(struct.pack("!hi", 3, len(one)) + one + struct.pack("!i", len(two)) + two
                     + struct.pack("!ihh", 4 + size, wide.shape[1], 0) + vector.tobytes())
    stream.write(struct.pack("!h", -1))
    stream.seek(0)
    return stream


def _index(connection, dimensions: int) -> None:
    """The HNSW index for embeddings of this size; another encoder's size gets another one."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
    database.execute(connection, "search/index", {"dimensions": dimensions}, index=f"items_embedding_{dimensions}")
