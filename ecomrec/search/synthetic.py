"""Queries that people might type for a product, made from its own text: the retriever's signal where a shop has no searches.

A query is mostly a *kind*: a phrase of the title that products of several brands share and that says most of what the product
is, by cosine with its whole text (as KeyBERT, Grootendorst 2020). Then brand and kind, an attribute and kind, or title words.
"""

import random
import re
from collections import Counter

import numpy as np

from ecomrec.search.lexical import words

BRANDS, ITEMS, LONGEST = 3, 3, 3  # a kind is shared by so many brands and items, and has at most so many words
SHARPNESS = 0.05  # temperature of the choice among a title's phrases
CHUNK = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")


def phrases(titles: list[str], brands: list[str]) -> list[list[str]]:
    """The kinds in each title: one to three plain words that at least BRANDS brands (or, without brands, ITEMS products) share."""
    found, by_brand, by_item = [], {}, Counter()
    for title, brand in zip(titles, brands, strict=True):
        run, own, spans = words(title), set(words(brand)), set()
        for size in range(1, LONGEST + 1):
            for first in range(len(run) - size + 1):
                span = run[first:first + size]
                if all(_plain(word) and word not in own for word in span):
                    spans.add(" ".join(span))
        found.append(sorted(spans))
        by_item.update(spans)
        for span in spans:
            by_brand.setdefault(span, set()).add(brand.lower())
    several = len({brand.lower() for brand in brands}) >= BRANDS
    kept = {span for span, count in by_item.items() if count >= ITEMS and (not several or len(by_brand[span]) >= BRANDS)}
    return [[span for span in spans if span in kept] for spans in found]


def queries(titles: list[str], brands: list[str], extras: list[list[str]], kinds: list[list[str]], likeness: list[np.ndarray], mix: dict, number: int,
            seed: int) -> list[tuple[str, int]]:
    """`number` pairs (query, row of the product). `likeness[i][j]`: cosine of kinds[i][j] with product i; `extras`: attribute values."""
    source, made = random.Random(seed), []
    weights = [np.exp((found - found.max()) / SHARPNESS) if len(found) else found for found in likeness]
    tries = 0
    while len(made) < number and tries < 20 * number:
        tries += 1
        row, chance = source.randrange(len(titles)), source.random()
        kind = source.choices(kinds[row], weights[row])[0] if kinds[row] else None
        if chance < mix["kind"]:
            query = kind
        elif chance < mix["kind"] + mix["brand"]:
            query = " ".join(filter(None, (brands[row].lower(), kind))) if brands[row] else kind
        elif chance < mix["kind"] + mix["brand"] + mix["attribute"]:
            query = f"{source.choice(extras[row]).lower()} {kind}" if extras[row] and kind else kind
        else:
            run = words(titles[row])
            query = " ".join(run[place] for place in sorted(source.sample(range(len(run)), min(len(run), source.randint(1, 3)))))
        if query:
            made.append((query, row))
    return made


def _plain(word: str) -> bool:
    return len(word) > 1 and not any(character.isdigit() for character in word)
