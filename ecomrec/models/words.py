"""The words of the items' texts as a second kind of user, who "bought" every item that their word describes.

EASE on the Gram matrix X'X + w F F' (collective EASE: Jeunen, Van Balen & Goethals 2020, Closed-form models for
collaborative filtering with side-information); F holds the TF-IDF weights of words and pairs of neighbouring words. An item
that nobody has bought yet is placed by its words alone.
"""

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

# A word of any alphabet; of Chinese and Japanese each character, whose pairs are then their words.
TOKEN = r"(?u)[^\W\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]"


def features(texts: list[str], max_share: float = 1.0) -> sparse.csr_matrix:
    """TF-IDF float32 [I, words], rows of length 1, of words and pairs that at least two items share, and at most `max_share` of them.

    An item without such a word has an empty row.
    """
    most = max(2, int(max_share * len(texts)))
    vectorizer = TfidfVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), min_df=2, max_df=most, sublinear_tf=True, dtype=np.float32)
    try:
        return vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # no two items share a word
        return sparse.csr_matrix((len(texts), 1), dtype=np.float32)
