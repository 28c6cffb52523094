"""Finds and erases people in files: the shop's logs, the work folders of training, model artefacts, caches, and logs of the system.

In the shop's logs their rows go; in what was made from them their ids are blanked, so that positions keep their meaning, and
their interactions go. A file is replaced whole, and only when something in it changes.
"""

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecomrec.ingest.files import MAGIC
from ecomrec.privacy.pii import dump
from ecomrec.privacy.pseudonyms import SHAPE
from ecomrec.privacy.traces import ERASED, Traces, UserField

BINARY = (".onnx", ".safetensors", ".faiss", ".index", ".bin", ".pt")
CHUNK = 1 << 22  # bytes


def find(path: Path, traces: Traces, user: UserField | None = None) -> int:
    """Rows, cells or lines of a file that hold a trace; `user` says where a shop's log holds raw ids."""
    return _walk(path, None, traces, user)


def raw_ids(duck: duckdb.DuckDBPyConnection, path: Path, user: UserField, wanted: list[str]) -> list[str]:
    """The raw ids in a shop's log whose pseudonym is one of `wanted`; the connection has the macro `pseudonym`."""
    name, compression = _format(path)
    with pa.input_stream(str(path), compression=compression) as raw:
        encoding = _encoding(io.BufferedReader(raw)).removesuffix("-sig")
    read = f"ignore_errors = true, compression = '{compression or 'none'}', encoding = '{encoding}'"
    if name.endswith(".parquet"):
        source = "SELECT to_json(t)::VARCHAR AS line FROM read_parquet(?) t"
    elif name.endswith(".csv"):
        source = f"SELECT to_json(t)::VARCHAR AS line FROM read_csv(?, all_varchar = true, header = true, {read}) t"
    else:
        source = ("SELECT line FROM read_csv(?, columns = {'line': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '', header = false, auto_detect = false, "
                  f"max_line_size = 10000000, {read})")
    parts = ", ".join("coalesce(json_extract_string(line, ?), '')" for _ in user.paths)
    where = ["$" + "".join(f'."{step}"' for step in path) for path in user.paths]
    found = duck.execute(f"""
        SELECT id FROM (SELECT DISTINCT concat_ws(?, {parts}) AS id FROM ({source}) WHERE json_valid(line))
        WHERE list_contains(?, pseudonym(id))""", [user.join, *where, str(path), wanted])
    return [raw for (raw,) in found.fetchall()]


def erase(path: Path, target: Path, traces: Traces, user: UserField | None = None) -> int:
    """Writes `path` without the people to `target`; returns what `find` would have. Nothing is written when that is 0."""
    if not find(path, traces, user):
        return 0
    return _walk(path, target, traces, user)


def _walk(path: Path, target: Path | None, traces: Traces, user: UserField | None) -> int:
    bare, compression = _format(path)
    if bare.endswith(".parquet"):
        return _parquet(path, target, traces, user)
    if bare.endswith((".npy", ".npz")):
        return _numpy(path, target, traces)
    if bare.endswith(BINARY):
        return _binary(path, traces)
    if bare.endswith(".csv"):
        return _csv(path, target, traces, user, compression)
    return _lines(path, target, traces, user, compression)


def erase_interactions(users: Path, interactions: Path, target: Path, traces: Traces) -> int:
    """A data set's rows of the people (and of those blanked before), in a folder where `users` says who number n is; returns the rows that go."""
    known = pq.read_table(users)["user_id"].to_pylist()
    numbers = [number for number, user in enumerate(known) if user in traces.ids or user == ERASED]
    table = pq.read_table(interactions)
    kept = table.filter(pc.invert(pc.is_in(table["user"], value_set=pa.array(numbers, table["user"].type))))
    if len(kept) < len(table):
        pq.write_table(kept, target, compression="zstd")
    return len(table) - len(kept)


def blank_pseudonyms(path: Path, target: Path) -> int:
    """Writes a Parquet file with every pseudonym blanked; returns how many. Nothing is written when there is none."""
    table, blanked = pq.read_table(path), 0
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            mask = pc.fill_null(pc.match_substring_regex(table[field.name], f"^{SHAPE.pattern}$"), False)
            if count := pc.sum(mask).as_py():
                table = table.set_column(number, field, pc.if_else(mask, pa.scalar(ERASED, field.type), table[field.name]))
                blanked += count
    if blanked:
        pq.write_table(table, target, compression="zstd")
    return blanked


def _format(path: Path) -> tuple[str, str | None]:
    """The name without the ending of its compression, and the compression: by the first bytes, as loading reads it, which names get wrong."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    with path.open("rb") as stream:
        start = stream.read(4)
    return "rows.parquet" if start == b"PAR1" else name, next((compression for magic, compression in MAGIC.items() if start.startswith(magic)), None)


def _encoding(stream: io.BufferedReader) -> str:
    """UTF-16 where a byte order mark says so, else UTF-8."""
    return "utf-16" if stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _lines(path: Path, target: Path | None, traces: Traces, user: UserField | None, compression: str | None) -> int:
    """JSON Lines and any other text. A line about one of the people goes (in a shop's log), or their ids in it are blanked.

    JSON may write any character as an escape: PHP does a slash, Gson an equals sign. So each line of a shop's log that has a backslash is parsed.
    """
    probes = [found.encode() for found in (traces.ids if user else (*traces.unmistakable, *traces.words))]
    if user and len(user.paths) > 1:  # an id that is joined from several fields stands nowhere as a whole
        probes += [found.split(user.join)[-1].encode() for found in traces.ids]
    probes += [b"\\"] if user else [json.dumps(found)[1:-1].encode() for found in traces.ids if not found.isascii()]
    matches = 0
    with pa.input_stream(str(path), compression=compression) as raw, _output(target, compression) as write:
        stream = io.BufferedReader(raw, CHUNK)
        wide = _encoding(stream) == "utf-16"  # all else is searched as bytes, whatever they are
        for line in (text.encode() for text in io.TextIOWrapper(stream, encoding="utf-16", newline="\n")) if wide else stream:
            if any(probe in line for probe in probes):
                kept = _line(line, traces, user)
                matches += kept != line
                line = kept
            write(line)
    return matches


def _line(line: bytes, traces: Traces, user: UserField | None) -> bytes:
    text = line.decode(errors="surrogateescape")
    if user:
        try:
            record = json.loads(text)
            clean = traces.blank(record)
        except (ValueError, RecursionError):
            # A line that cannot be read goes when it names one of them anywhere, or where the user id stands.
            named = rf'"(?:{"|".join(re.escape(path[-1]) for path in user.paths)})"\s*:\s*"?(?:{"|".join(map(re.escape, traces.ids))})(?!\w)'
            return b"" if any(traces.pattern.search(said) or re.search(named, said) for said in (text, _unescaped(text))) else line
        if isinstance(record, dict) and user.of(record) in traces.ids:
            return b""
        return line if clean == record else dump(clean).encode() + b"\n"
    return traces.pattern.sub(ERASED, text).encode(errors="surrogateescape")


def _unescaped(text: str) -> str:
    """What JSON's escapes in a text that is no JSON mean, as far as they can be told."""
    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def _csv(path: Path, target: Path | None, traces: Traces, user: UserField | None, compression: str | None) -> int:
    matches = 0
    with pa.input_stream(str(path), compression=compression) as raw, _output(target, compression) as write:
        csv.field_size_limit(sys.maxsize)
        stream = io.BufferedReader(raw, CHUNK)
        text = io.TextIOWrapper(stream, encoding=_encoding(stream), errors="surrogateescape", newline="")
        line, names = io.StringIO(), []
        header = text.readline()
        parted = max(",;\t|", key=header.count)  # the first of those that are as frequent: a comma
        writer = csv.writer(line, delimiter=parted, lineterminator="\n")
        for row in csv.reader(chain([header], text), delimiter=parted):
            clean = [traces.blank(cell) for cell in row]
            gone = user is not None and bool(names) and user.of(dict(zip(names, row, strict=False))) in traces.ids
            names = names or row
            matches += gone or clean != row
            if not gone and target:
                writer.writerow(clean)
                write(line.getvalue().encode(errors="surrogateescape"))
                line.seek(0)
                line.truncate()
    return matches


def _parquet(path: Path, target: Path | None, traces: Traces, user: UserField | None) -> int:
    matches = 0
    with pq.ParquetFile(path) as source:
        writer = pq.ParquetWriter(target, source.schema_arrow, compression="zstd") if target else None
        try:
            for batch in source.iter_batches():
                table = pa.Table.from_batches([batch])
                if user:
                    held = [path[0] for path in user.paths if path[0] in table.column_names]
                    gone = pa.array([user.of(row) in traces.ids for row in table.select(held).to_pylist()], pa.bool_()) if held else None
                    if gone is not None and (count := pc.sum(gone).as_py()):
                        matches += count
                        table = table.filter(pc.invert(gone))
                for number, field in enumerate(table.schema):
                    if _holds_text(field.type):
                        cells = table[field.name].to_pylist()
                        clean = [traces.blank(cell) for cell in cells]
                        changed = sum(a != b for a, b in zip(cells, clean, strict=True))
                        if changed:
                            matches += changed
                            table = table.set_column(number, field, pa.array(clean, field.type))
                if writer:
                    writer.write_table(table)
        finally:
            if writer:
                writer.close()
    return matches


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_text(kind.field(n).type) for n in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)


def _numpy(path: Path, target: Path | None, traces: Traces) -> int:
    """Text arrays; the order and every other array stay."""
    loaded = np.load(path, allow_pickle=False)
    arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    matches = 0
    for name, array in arrays.items():
        if array.dtype.kind == "U":
            mask = np.isin(array, sorted(traces.ids))
            matches += int(mask.sum())
            arrays[name] = np.where(mask, ERASED, array).astype(array.dtype) if mask.any() else array
    if target and matches:
        with target.open("wb") as stream:
            np.save(stream, arrays[""]) if "" in arrays else np.savez(stream, **arrays)
    return matches


def _binary(path: Path, traces: Traces) -> int:
    """Weights and graphs hold no ids; that is checked, and nothing is changed in them."""
    probes = [form for found in traces.unmistakable for form in (found.encode(), found.encode("utf-32-le"))]
    content = path.read_bytes()
    return sum(content.count(probe) for probe in probes)


class _output:
    """`with _output(target, compression) as write`: writes bytes, or throws them away when there is no target."""

    def __init__(self, target: Path | None, compression: str | None):
        self.stream = pa.output_stream(str(target), compression=compression) if target else None

    def __enter__(self) -> Callable[[bytes], object]:
        return self.stream.write if self.stream else lambda line: None

    def __exit__(self, *_) -> None:
        if self.stream:
            self.stream.close()
