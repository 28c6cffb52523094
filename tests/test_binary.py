"""Postgres reads back what the binary COPY was made from."""

import io

import numpy as np

from ecomrec import database
from ecomrec.recommend import binary

TABLE = """CREATE TEMPORARY TABLE target (a bigint, b integer, c date, d text, e text, f integer[], g real[], h text[], i halfvec, j text[])"""
WORDS = ["", "plain", "quo\"te, comma {brace} \\", "汉字 é"]


def columns(rows: int) -> dict[str, binary.Column]:
    found = binary.Texts.of(WORDS)
    offsets = np.array([0, 0, 3, 4][:rows + 1], dtype=np.int64)
    return {"a": binary.constant(2 ** 40, rows), "b": binary.integers(np.array([-1, 0, 7][:rows], dtype=np.int32)),
            "c": binary.integers(np.array(["1999-12-31", "2000-01-01", "2026-11-25"][:rows], dtype="datetime64[D]")),
            "d": binary.each_text([f"u{row}é" for row in range(rows)]), "e": binary.texts(found, np.array([3, 0, 2][:rows])),
            "f": binary.number_lists(np.array([1, -2, 3, 4], dtype=np.int32), offsets), "g": binary.number_lists(np.array([0.1, np.inf, np.nan, -1e-9], dtype=np.float32), offsets),
            "h": binary.text_lists(found, np.array([1, 2, -1, 0]), offsets), "i": binary.half_vectors(np.array([[0.5, -1.25], [0, 3e-5], [1, 65504]][:rows], dtype=np.float32)),
            "j": binary.nulls(rows)}


def test_every_kind_of_column_comes_back(shop):
    with database.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        made = columns(3)
        assert database.copy_in(connection, "target", made, io.BytesIO(binary.encode(list(made.values()))), format="binary") == 3
        cursor.execute("SELECT a, b, c::text, d, e, f, g::text, h, i::text, j FROM target")
        assert cursor.fetchall() == [
            (2 ** 40, -1, "1999-12-31", "u0é", WORDS[3], [], "{}", [], "[0.5,-1.25]", None),
            (2 ** 40, 0, "2000-01-01", "u1é", "", [1, -2, 3], "{0.1,Infinity,NaN}", WORDS[1:], "[0,2.9981136e-05]", None),
            (2 ** 40, 7, "2026-11-25", "u2é", WORDS[2], [4], "{-1e-09}", [""], "[1,65504]", None)]


def test_no_row_at_all(shop):
    with database.connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        stream = binary.encode([binary.constant(1, 0), binary.each_text([]), binary.nulls(0)])
        assert database.copy_in(connection, "target", ("a", "d", "j"), io.BytesIO(stream), format="binary") == 0
