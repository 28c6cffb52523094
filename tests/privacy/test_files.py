"""A shop's logs are searched in every form in which they are loaded, whatever their names say."""

import gzip
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecomrec.privacy import files
from ecomrec.privacy.traces import Traces, UserField

ROWS = [{"user_id": "1228", "query": "milk"}, {"user_id": "7", "query": "1228 candles"}, {"user_id": "1228", "query": "x" * 200_000}]
HER = Traces(frozenset({"1228"}), frozenset({"1228"}))
USER = UserField((("user_id",),), "")


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows, mark):
    return "".join(f"{mark.join(row.values())}\n" for row in [dict.fromkeys(ROWS[0], "") | {"user_id": "user_id", "query": "query"}, *rows])


def parquet(rows):
    target = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue().to_pybytes()


@pytest.mark.parametrize(("name", "given"), {
    "gzip under a plain name": ("a.jsonl", gzip.compress(lines(ROWS).encode())), "plain under the name of gzip": ("a.jsonl.gz", lines(ROWS).encode()),
    "UTF-16": ("a.jsonl.gz", gzip.compress(lines(ROWS).encode("utf-16"))), "Parquet under another name": ("a.jsonl", parquet(ROWS)),
    "CSV": ("a.csv", table(ROWS, ",").encode()), "semicolons": ("a.csv", table(ROWS, ";").encode()), "tabs": ("a.csv", table(ROWS, "\t").encode()),
    "CSV with a byte order mark": ("a.csv", b"\xef\xbb\xbf" + table(ROWS, ",").encode())}.values())
def test_her_rows_go_and_what_others_wrote_stays(tmp_path, name, given):
    source, target = tmp_path / name, tmp_path / f"erased-{name}"
    source.write_bytes(given)
    with duckdb.connect() as duck:
        duck.execute("CREATE MACRO pseudonym(id) AS 'p' || id")
        assert files.raw_ids(duck, source, USER, ["p1228", "p99"]) == ["1228"]
    assert files.find(source, HER, USER) == 2 and files.erase(source, target, HER, USER) == 2
    assert files.find(target, HER, USER) == 0 and files.erase(target, tmp_path / "again", HER, USER) == 0 and not (tmp_path / "again").exists()
    left = target.read_bytes()
    left = gzip.decompress(left) if left.startswith(b"\x1f\x8b") else left
    rows = pq.read_table(target).to_pylist() if left.startswith(b"PAR1") else left.decode().splitlines()
    assert len(rows) == (2 if name.endswith(".csv") else 1) and "1228 candles" in str(rows[-1])
