"""One query, answered now: for a person at the command line, not for a web page."""

import numpy as np

from ecomrec import database
from ecomrec.errors import InputError
from ecomrec.models import encoder_classifier, ngram_classifier
from ecomrec.queries import normalise
from ecomrec.registry import champion, fetch
from ecomrec.search import embeddings, hybrid
from ecomrec.settings import Settings

CLASSIFIERS = {encoder_classifier.KIND: encoder_classifier.load, ngram_classifier.KIND: ngram_classifier.load}


def ask(settings: Settings, query: str, k: int) -> dict:
    """`{"category", "probability", "suggestions", "by", "products"}` of a query, by the champions in service.

    A head query gets its published results; any other is searched by meaning and by words in Postgres, weighed as the retriever in service learned to, or
    by its words alone where that has no encoder, a newer one than the products' embeddings, or learned to trust words alone. Raises InputError for an empty query.
    """
    query = normalise(query)
    if not query:
        raise InputError("the query is empty", 'write what a shopper would type, for example: ecomrec search "oat milk"')
    models = {family: champion(settings, family) for family in ("query_classifier", "retriever")}
    found = {"category": "no query_classifier in service yet", "probability": 0.0, "by": "words"}
    if model := models["query_classifier"]:
        [answer] = CLASSIFIERS[model["kind"]](fetch(settings, model["uri"]), settings.threads).answer([query])
        found |= {"category": answer.category, "probability": answer.probability}
    with database.connect(settings.shop_dsn, application="ecomrec search") as connection:
        found["suggestions"] = [row["suggestion"] for row in database.query(connection, "search/suggest", {"typed": query})]
        published = database.query(connection, "search/published", {"query": query})[0]["found"]
        model = models["retriever"]
        placed = model and not published and database.query(connection, "search/embedded_by", {"model": embeddings.version(model)})[0]["found"]
        served = hybrid.load(fetch(settings, model["uri"]), settings.threads) if placed else None
        if served is not None and served.encoder is not None and served.weight > 0:
            deep, vector = max(k, served.depth), "[" + ",".join(f"{value:.6g}" for value in served.encode_queries([query])[0]) + "]"
            by_words = database.query(connection, "search/by_words", {"query": query, "k": deep}) if served.weight < 1 else []
            by_meaning = database.query(connection, "search/by_vector", {"vector": vector, "k": deep})
            found |= {"by": "meaning and words" if by_words else "meaning", "products": _fused(by_meaning, by_words, served.weight, served.depth, k)}
        if not found.get("products"):
            found |= {"by": "published results" if published else "words", "products": database.query(connection, "search/by_words", {"query": query, "k": k})}
    return found


def _fused(by_meaning: list[dict], by_words: list[dict], weight: float, depth: int, k: int) -> list[dict]:
    """The `k` best rows of both, `score` as `hybrid.fuse` gives it."""
    rows = {row["item_id"]: row for row in (*by_words, *by_meaning)}
    near, said = ({row["item_id"]: row["score"] for row in side} for side in (by_meaning, by_words))
    places, scores = hybrid.fuse(np.array([near.get(item, -np.inf) for item in rows]), np.array([said.get(item, 0.0) for item in rows]), weight, depth, k)
    everything = list(rows.values())
    return [{**everything[place], "score": float(score)} for place, score in zip(places, scores, strict=True)]
