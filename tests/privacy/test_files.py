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


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("escape", {
    "PHP": lambda text: text.replace("/", "\\/"), "Gson": lambda text: text.replace("=", "\\u003d"),
    "every character": lambda text: "".join(f"\\u{ord(c):04X}" for c in text)}.values())
def test_an_id_that_json_writes_in_escapes_is_hers(tmp_path, pack, escape):
    her = Traces(frozenset({"ab/cd12+ef=="}), frozenset())
    hers, other = escape("ab/cd12+ef=="), escape("ab/cd12+eg==")
    kept = [f'{{"user_id":"{other}","note":"\\u00fc \\ud800"}}', f'{{"user_id":"{other}","note":"see {other}', "no \\json"]
    given = [f'{{"user_id":"{hers}","query":"milk"}}', *kept, f'{{"user_id":"{other}","context":{{"by":"{hers}","half":"\\ud800"}}}}', f'["{hers}"]', f'{{"broken":1,"user_id":"{hers}']
    source, target = tmp_path / "a.jsonl", tmp_path / "erased.jsonl"
    source.write_bytes(pack("".join(f"{line}\n" for line in given).encode()))
    assert files.find(source, her, USER) == 4 and files.erase(source, target, her, USER) == 4
    assert files.find(target, her, USER) == 0
    left = target.read_bytes()
    *same, blanked, alone = (left if pack is bytes else gzip.decompress(left)).decode().splitlines()
    assert same == kept and json.loads(alone) == ["<erased>"]
    assert json.loads(blanked) == {"user_id": "ab/cd12+eg==", "context": {"by": "<erased>", "half": "\ud800"}}


def test_a_line_that_nests_too_deep_to_be_read_goes_when_it_names_her(tmp_path):
    deep = "[" * 5000 + "]" * 5000
    source, target = tmp_path / "a.jsonl", tmp_path / "erased.jsonl"
    source.write_text(f'{{"user_id": "1228", "context": {deep}}}\n{{"user_id": "12280", "context": {deep}, "query": "1228"}}\n')
    assert files.erase(source, target, HER, USER) == 1 and target.read_text().startswith('{"user_id": "12280"')
