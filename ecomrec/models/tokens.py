"""What the text models read, without torch: padded ids, and hashed character n-grams.

The n-grams are what is left of a word after a typing error, and all there is of a script that the encoder cannot read. As
in fastText (Bojanowski et al. 2017), every n-gram of `<word>` and the word itself fall into one of BUCKETS by CRC-32.
"""

import zlib

import numpy as np

BUCKETS = 1 << 15
SIZES = (2, 3, 4, 5)
MOST = 160  # n-grams of one text


def hashed(text: str) -> list[int]:
    """Bucket numbers 1 … BUCKETS of a normalised text, at most MOST; 0 is padding. An empty text has a bucket of its own."""
    found = []
    for word in text.split(" "):
        marked = f"<{word}>"
        found.append(marked)
        # A Chinese character is a word by itself; a Latin letter says nothing.
        sizes = (1, 2, 3) if any(character > "\u2e7f" for character in word) else SIZES
        found += [marked[place:place + size] for size in sizes for place in range(len(marked) - size + 1) if size < len(marked)]
        if len(found) >= MOST:
            break
    return [1 + zlib.crc32(part.encode("utf-8", "replace")) % BUCKETS for part in found[:MOST]]


def pad(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, int64 [N, longest]; the padding id is 0, as in every BERT vocabulary."""
    ids = np.zeros((len(rows), max(map(len, rows), default=1) or 1), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, found in enumerate(rows):
        ids[row, :len(found)], mask[row, :len(found)] = found, 1
    return ids, mask
