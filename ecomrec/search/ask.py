"""One query, answered now: for a person at the command line, not for a web page."""

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

    A head query gets its published results; any other is searched by meaning in Postgres, or by its words where the retriever
    in service has no encoder, or a newer one than the products' embeddings. Raises InputError for an empty query.
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
        if served is not None and served.encoder is not None:
            vector = "[" + ",".join(f"{value:.6g}" for value in served.encode_queries([query])[0]) + "]"
            found |= {"by": "meaning", "products": database.query(connection, "search/by_vector", {"vector": vector, "k": k})}
        if not found.get("products"):
            found |= {"by": "published results" if published else "words", "products": database.query(connection, "search/by_words", {"query": query, "k": k})}
    return found
