"""BM25 over product texts (Robertson & Zaragoza 2009), with the library bm25s; Chinese is cut into words by jieba."""

import re

import numpy as np

from ecomrec.queries import normalise

WORD = re.compile(r"[^\W_]+(?:[.'-][^\W_]+)*")
CHINESE = re.compile(r"[\u3400-\u9fff]+")
# English words that keep their e in the plural, where the ending looks like that of `batteries` or `boxes`.
KEEP_E = frozenset(["ache", "avalanche", "backache", "barbie", "beanie", "birdie", "bootie", "brioche", "brownie", "budgie", "cache", "calorie", "collie", "cookie", "creche", "cutie", "doggie", "earache", "foodie", "freebie", "genie", "goalie", "headache", "heartache", "hippie", "hoodie", "indie", "junkie", "magpie", "moustache", "movie", "mustache", "necktie", "newbie", "niche", "onesie", "pixie", "pinkie", "porsche", "prairie", "quiche", "rookie", "selfie", "smartie", "smoothie", "sortie", "stomachache", "talkie", "tootsie", "toothache", "townie", "veggie", "zombie"])


def words(text: str) -> list[str]:
    """The words of a text as BM25 counts them: normalised, plural endings of longer English words taken off, Chinese segmented."""
    found = []
    for chunk in WORD.findall(normalise(text, 4000)):
        if CHINESE.search(chunk):
            import jieba

            jieba.setLogLevel(60)
            found += [word for word in jieba.lcut_for_search(chunk) if word.strip()]
        else:
            found.append(singular(chunk))
    return found


def singular(word: str) -> str:
    """`laptops` → `laptop`, `batteries` → `battery`, `cookies` → `cookie`, `boxes` → `box`; short words and other languages are left alone."""
    if len(word) < 4 or not word.isascii() or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("s") and word[:-1] in KEEP_E:
        return word[:-1]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


class Lexical:
    """BM25 scores of all products for a query; rows are those of the texts given."""

    def __init__(self, texts: list[str], k1: float = 1.2, b: float = 0.75):
        import bm25s

        self.size = len(texts)
        corpus = [words(text) for text in texts]
        self._index = bm25s.BM25(k1=k1, b=b) if any(corpus) else None
        if self._index is not None:
            self._index.index(corpus, show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """Float32 [N], 0 where no word of the query occurs."""
        known = [word for word in words(query) if self._index is not None and word in self._index.vocab_dict]
        return self._index.get_scores(known).astype(np.float32) if known else np.zeros(self.size, dtype=np.float32)
