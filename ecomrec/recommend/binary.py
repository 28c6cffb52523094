"""Rows for Postgres' binary COPY from arrays: four times as fast to make and to read as text (docs/decisions/0046).

The format is that of https://www.postgresql.org/docs/current/sql-copy.html, a field that of each type's receive function. An array of an enum
is sent as one of text, which Postgres takes for types that are not its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numba
import numpy as np

from ecomrec.models.kernels import compiled

HEADER, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
INT4, FLOAT4, TEXT = 23, 700, 25  # OIDs of pg_type
ARRAY_HEAD = 20                   # bytes before the elements of an array that is not empty …
EMPTY_HEAD = 12                   # … and of one that is
EPOCH = np.datetime64(date(2000, 1, 1))


@dataclass(frozen=True)
class Texts:
    """Distinct texts as UTF-8 one after another: text i is data[starts[i]:starts[i+1]]."""

    starts: np.ndarray  # int64 [n+1]
    data: np.ndarray    # uint8

    @staticmethod
    def of(texts: list[str]) -> "Texts":
        parts = [text.encode() for text in texts]
        return Texts(np.cumsum([0, *map(len, parts)], dtype=np.int64), np.frombuffer(b"".join(parts), dtype=np.uint8))

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.starts)


@dataclass(frozen=True)
class Column:
    """A column: the bytes of each field with its length [rows], and what puts them into a buffer at these places."""

    sizes: np.ndarray                                # int64 [rows]
    put: Callable[[np.ndarray, np.ndarray], object]  # (buffer uint8, places int64 [rows])


def integers(values: np.ndarray) -> Column:
    """int8 of int64, int4 of int32, date of datetime64, [rows]."""
    if np.issubdtype(values.dtype, np.datetime64):
        values = (values.astype("datetime64[D]") - EPOCH).astype(np.int32)
    width = values.dtype.itemsize
    wide = values.astype(np.int64)
    return Column(np.full(len(values), 4 + width), lambda out, at: _put_integers(out, at, wide, width))


def texts(found: Texts, codes: np.ndarray) -> Column:
    """text: each row's is number codes[row] of `found`."""
    return Column(4 + found.sizes[codes], lambda out, at: _put_texts(out, at, found.starts, found.data, codes))


def each_text(values: list[str]) -> Column:
    """text, hardly any twice."""
    return texts(Texts.of(values), np.arange(len(values)))


def constant(value: int | str, rows: int, kind: type = np.int64) -> Column:
    """The same in every row: text, or an integer of this kind."""
    return texts(Texts.of([value]), np.zeros(rows, dtype=np.int64)) if isinstance(value, str) else integers(np.full(rows, value, dtype=kind))


def nulls(rows: int) -> Column:
    return Column(np.full(rows, 4), lambda out, at: _put_integers(out, at, np.zeros(rows, dtype=np.int64), 0, True))


def number_lists(values: np.ndarray, offsets: np.ndarray) -> Column:
    """int4[] of int32, real[] of float32: row r has values[offsets[r]:offsets[r+1]]."""
    counts, bits = np.diff(offsets), np.ascontiguousarray(values).view(np.uint32)
    oid = FLOAT4 if values.dtype == np.float32 else INT4
    return Column(np.where(counts, 4 + ARRAY_HEAD + 8 * counts, 4 + EMPTY_HEAD), lambda out, at: _put_number_lists(out, at, bits, offsets, oid))


def text_lists(found: Texts, codes: np.ndarray, offsets: np.ndarray) -> Column:
    """text[]: row r has those of `found` with the numbers codes[offsets[r]:offsets[r+1]]; numbers below 0 count from the end."""
    codes = np.where(codes < 0, codes + len(found.sizes), codes)
    counts, ends = np.diff(offsets), np.concatenate(([0], np.cumsum(found.sizes[codes])))
    sizes = np.where(counts, 4 + ARRAY_HEAD + 4 * counts + ends[offsets[1:]] - ends[offsets[:-1]], 4 + EMPTY_HEAD)
    return Column(sizes, lambda out, at: _put_text_lists(out, at, sizes, found.starts, found.data, codes, offsets))


def half_vectors(vectors: np.ndarray) -> Column:
    """pgvector's halfvec of float32 [rows, d]."""
    rows, dim = vectors.shape
    bits = np.ascontiguousarray(vectors.astype(np.float16)).view(np.uint16)
    return Column(np.full(rows, 8 + 2 * dim), lambda out, at: _put_half_vectors(out, at, bits))


def encode(columns: list[Column]) -> bytes:
    """A whole COPY stream; without rows it is header and end alone."""
    sizes = np.stack([column.sizes for column in columns], axis=1)
    starts = len(HEADER) + np.concatenate(([0], np.cumsum(2 + sizes.sum(axis=1))))
    out = np.empty(starts[-1] + len(END), dtype=np.uint8)
    out[:len(HEADER)], out[-len(END):] = np.frombuffer(HEADER, dtype=np.uint8), np.frombuffer(END, dtype=np.uint8)
    out[starts[:-1]], out[starts[:-1] + 1] = 0, len(columns)
    places = starts[:-1, None] + 2 + np.cumsum(sizes, axis=1) - sizes
    for number, column in enumerate(columns):
        column.put(out, np.ascontiguousarray(places[:, number]))
    return out.data


@numba.njit(inline="always")
def _int(out, at, value, width):
    for byte in range(width):
        out[at + byte] = (value >> (8 * (width - 1 - byte))) & 0xFF


@compiled
def _put_integers(out, at, values, width, null=False):
    for row in range(len(at)):
        _int(out, at[row], -1 if null else width, 4)
        _int(out, at[row] + 4, values[row], width)


@compiled
def _put_texts(out, at, starts, data, codes):
    for row in range(len(at)):
        first, last = starts[codes[row]], starts[codes[row] + 1]
        _int(out, at[row], last - first, 4)
        out[at[row] + 4:at[row] + 4 + last - first] = data[first:last]


@numba.njit(inline="always")
def _head(out, at, size, oid, count):
    """Length, dimensions, no NULLs, type, and where there is something, how many and that they count from 1."""
    _int(out, at, size, 4)
    _int(out, at + 4, 1 if count else 0, 4)
    _int(out, at + 8, 0, 4)
    _int(out, at + 12, oid, 4)
    if count:
        _int(out, at + 16, count, 4)
        _int(out, at + 20, 1, 4)


@compiled
def _put_number_lists(out, at, bits, offsets, oid):
    for row in range(len(at)):
        count = offsets[row + 1] - offsets[row]
        _head(out, at[row], (ARRAY_HEAD + 8 * count) if count else EMPTY_HEAD, oid, count)
        place = at[row] + 4 + ARRAY_HEAD
        for entry in range(offsets[row], offsets[row + 1]):
            _int(out, place, 4, 4)
            _int(out, place + 4, np.int64(bits[entry]), 4)
            place += 8


@compiled
def _put_text_lists(out, at, sizes, starts, data, codes, offsets):
    for row in range(len(at)):
        count = offsets[row + 1] - offsets[row]
        _head(out, at[row], sizes[row] - 4, TEXT, count)
        place = at[row] + 4 + ARRAY_HEAD
        for entry in range(offsets[row], offsets[row + 1]):
            first, last = starts[codes[entry]], starts[codes[entry] + 1]
            _int(out, place, last - first, 4)
            place += 4
            for byte in range(first, last):
                out[place] = data[byte]
                place += 1


@compiled
def _put_half_vectors(out, at, bits):
    rows, dim = bits.shape
    for row in range(rows):
        _int(out, at[row], 4 + 2 * dim, 4)
        _int(out, at[row] + 4, dim, 2)
        _int(out, at[row] + 6, 0, 2)
        for place in range(dim):
            _int(out, at[row] + 8 + 2 * place, np.int64(bits[row, place]), 2)
