"""Words, BM25 and fusion on small cases whose answer is known."""

import numpy as np
import pytest

from ecomrec.search import hybrid, pairs, synthetic
from ecomrec.search.lexical import Lexical, words


@pytest.mark.parametrize(("text", "found"), [
    ("Laptops & Batteries", ["laptop", "battery"]), ("ＵＳＢ-C boxes", ["usb-c", "box"]), ("glass bus", ["glass", "bus"]), ("", []), ("<b>!?</b>", ["b", "b"]),
    ("红色运动鞋", ["红色", "运动", "运动鞋"]), ("brother TN-2110", ["brother", "tn-2110"]),
    ("cookies and a cookie", ["cookie", "and", "a", "cookie"]), ("a collier cached", ["a", "collier", "cached"]), ("headaches watches pies movies berries", ["headache", "watch", "pie", "movie", "berry"])])
def test_words(text, found):
    assert words(text) == found


def test_bm25_ranks_rare_words_first_and_takes_no_words():
    lexical = Lexical(["red shoe", "red hat", "blue shoe laces", ""])
    assert lexical.scores("blue shoes").argmax() == 2
    assert lexical.scores("boat").tolist() == [0, 0, 0, 0] and lexical.scores("").tolist() == [0, 0, 0, 0]
    assert Lexical(["", "!!"]).scores("shoe").tolist() == [0, 0]


def test_fusion_weighs_both_sides():
    cosine, lexical = np.array([0.9, 0.1, 0.5, 0.0]), np.array([0.0, 4.0, 2.0, 0.0])
    assert hybrid.fuse(cosine, lexical, 1.0, 4, 2)[0].tolist() == [0, 2]
    assert hybrid.fuse(cosine, lexical, 0.0, 4, 4)[0].tolist() == [1, 2]  # only what shares a word
    rows, scores = hybrid.fuse(cosine, lexical, 0.5, 4, 4)
    assert set(rows.tolist()) == {0, 1, 2, 3} and scores[0] == pytest.approx(0.5 * 0.5 / 0.9 * 1 + 0.5 * 0.5, abs=0.06) and (np.diff(scores) <= 0).all()
    assert hybrid.fuse(None, np.zeros(3), 0.0, 2, 2)[0].tolist() == []


def test_a_products_text_says_nothing_twice():
    text = pairs.text("Blue Shoe", "Acme", "Shoes/Blue Shoe", ["Blue", "Leather"], "Soft and light")
    assert text == "blue shoe. shoes. acme. soft and light. leather"
    assert pairs.text("", "Acme", "", [], "") == "acme"


def test_sayable_values_are_words_not_measures():
    assert pairs.sayable('{"colour": "Red", "width": "3 cm", "n": 4, "touch": true, "long": "' + "x" * 50 + '", "x": "12"}') == ["Red"]
    assert pairs.sayable("nonsense") == [] and pairs.sayable(None) == [] and pairs.sayable("[1]") == []


def test_made_up_queries_are_kinds_that_brands_share():
    titles = ["Acme wireless mouse 12", "Best wireless mouse", "Cool wireless mouse Z9", "Acme desk"]
    brands = ["Acme", "Best", "Cool", "Acme"]
    kinds = synthetic.phrases(titles, brands)
    assert kinds == [["mouse", "wireless", "wireless mouse"]] * 3 + [[]]
    mix = {"kind": 1.0, "brand": 0.0, "attribute": 0.0}
    likeness = [np.array([0.5, 0.2, 0.9])] * 3 + [np.zeros(0)]
    found = synthetic.queries(titles, brands, [[]] * 4, kinds, likeness, mix, 50, 1)
    assert len(found) == 50 and {row for _, row in found} == {0, 1, 2}
    assert sum(query == "wireless mouse" for query, _ in found) > 40
    assert found == synthetic.queries(titles, brands, [[]] * 4, kinds, likeness, mix, 50, 1)
