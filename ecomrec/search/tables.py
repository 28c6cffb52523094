"""The search tables of a publication: categories, results, suggestions and related queries of the head queries.

Filled into the publication's own partitions, so they go live with everything else or not at all. A second run replaces the first.
"""

import csv
import io
import time
import tomllib
from pathlib import Path

import numpy as np
from scipy import sparse

from ecomrec import database
from ecomrec.publication import hold, partition, window
from ecomrec.registry import champion, fetch
from ecomrec.search import hybrid
from ecomrec.search.ask import CLASSIFIERS
from ecomrec.search.embeddings import embed, read_vectors, version
from ecomrec.search.lexical import Lexical
from ecomrec.search.pairs import PRODUCT, products
from ecomrec.settings import Settings

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "search.toml"
TABLES = ("query_categories", "query_results", "query_suggestions", "related_queries")


def recipe(path: Path = RECIPE) -> dict:
    """The recipe of the search tables by section."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def build(settings: Settings, publication_id: int, day: str) -> dict:
    """Fills the four tables with the champions in service; without one, its table stays empty. Brings the products' embeddings up to date
    first. Returns rows per table, `embedded` and seconds."""
    started, rules = time.monotonic(), recipe()
    models = {family: champion(settings, family) for family in ("query_classifier", "retriever")}
    embedded = embed(settings, models["retriever"])  # with the model that then reads the queries: another would place them elsewhere
    names = {table: partition(table, publication_id) for table in TABLES}
    span = {**window(settings, day), "half_life": rules["head"]["half_life"]}
    with database.connect(settings.shop_dsn, application="ecomrec search tables") as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # products and their vectors of one moment
            # A day that has just been loaded has no statistics yet: a nested loop chosen without them would run for hours.
            cursor.execute("SET LOCAL enable_nestloop = off")
        hold(connection, publication_id)
        serving = {family: model["version"] for family, model in models.items() if model}
        database.execute(connection, "publish/models", {"publication_id": publication_id, "families": list(serving), "versions": list(serving.values())})
        for name in names.values():
            database.execute(connection, "search/clear", partition=name)
        database.execute(connection, "search/head", {**span, **rules["head"]})
        head = database.query(connection, "search/head_rows")
        database.execute(connection, "search/settle", {"table": "core.items"})
        database.execute(connection, "search/suggestible", {**span, "min_users": rules["head"]["min_users"], "most": rules["suggestions"]["most"]})
        rows = {"query_suggestions": database.execute(connection, "search/suggestions", {
            "publication_id": publication_id, "completions": rules["suggestions"]["completions"]}, partition=names["query_suggestions"])}
        database.execute(connection, "search/settle", {"table": names["query_suggestions"]})
        queries, searches = [row["query"] for row in head], [row["searches"] for row in head]
        chosen = database.query(connection, "search/chosen", span) if queries else []
        if models["query_classifier"] and queries:
            rows["query_categories"] = _categories(settings, connection, models["query_classifier"], names, publication_id, queries, searches)
        vectors = None
        if models["retriever"] and queries:
            rows["query_results"], vectors = _results(settings, connection, models["retriever"], names, publication_id, queries, searches, chosen, rules)
        allowed = {row["query"] for row in database.query(connection, "search/relatable")}
        rows["related_queries"] = _related(connection, names, publication_id, queries, allowed, vectors, chosen, rules["related"])
    return {**rows, "embedded": embedded, "head": len(queries), "seconds": round(time.monotonic() - started, 1)}


def _categories(settings: Settings, connection, model: dict, names: dict, publication_id: int, queries: list[str], searches: list[int]) -> int:
    served = CLASSIFIERS[model["kind"]](fetch(settings, model["uri"]), settings.threads)
    version = f"query_classifier/{model['version']} ({model['kind']})"
    lines = [(publication_id, query, found.category, found.probability, database.array_literal(name for name, _ in found.likely),
              database.array_literal(f"{share:.6g}" for _, share in found.likely), times, version)
             for query, times, found in zip(queries, searches, served.answer(queries), strict=True)]
    columns = ("publication_id", "query", "category", "probability", "categories", "probabilities", "searches", "model_version")
    return _copy_in(connection, names["query_categories"], columns, lines)


def _results(settings: Settings, connection, model: dict, names: dict, publication_id: int, queries: list[str], searches: list[int], chosen: list[dict],
             rules: dict) -> tuple[int, np.ndarray | None]:
    served, own = hybrid.load(fetch(settings, model["uri"]), settings.threads), rules["results"]
    shop = products(database.table(connection, "search/in_stock", {"embedded": served.encoder is not None}, PRODUCT))
    if not shop.item_ids:
        return 0, None
    vectors = read_vectors(connection) if served.encoder else None
    found, scores = served.search(queries, vectors, Lexical(shop.texts), shop.texts, own["candidates"])
    asked = served.encode_queries(queries) if served.encoder else None
    place, evidence = {item: row for row, item in enumerate(shop.item_ids)}, {}
    for row in chosen:
        if row["item_id"] in place:
            evidence.setdefault(row["query"], {})[place[row["item_id"]]] = float(row["weight"])
    lines = []
    for number, query in enumerate(queries):
        total = {int(item): float(score) for item, score in zip(found[number], scores[number], strict=True) if item >= 0}
        weights = evidence.get(query, {})
        most, sure = max(weights.values(), default=1.0), sum(weights.values()) / (sum(weights.values()) + own["trust"]) if weights else 0.0
        for item, weight in weights.items():
            total[item] = total.get(item, 0.0) + own["chosen"] * sure * weight / most
        best = sorted(total, key=lambda item: (-total[item], item))[:own["length"]]
        if best:
            vector = "" if asked is None else "[" + ",".join(f"{value:.5g}" for value in asked[number]) + "]"
            lines.append((publication_id, query, database.array_literal(shop.item_ids[item] for item in best), database.array_literal(f"{total[item]:.6g}" for item in best),
                          vector, searches[number], version(model)))
    columns = ("publication_id", "query", "item_ids", "scores", "embedding", "searches", "model_version")
    return _copy_in(connection, names["query_results"], columns, lines), asked


def _related(connection, names: dict, publication_id: int, queries: list[str], allowed: set[str], vectors: np.ndarray | None, chosen: list[dict],
             rules: dict) -> int:
    """Cosine of meaning, or of what people chose: the larger one relates two queries."""
    if not queries:
        return 0
    row, column = {query: place for place, query in enumerate(queries)}, {}
    taken = [(row[pick["query"]], column.setdefault(pick["item_id"], len(column)), float(pick["weight"])) for pick in chosen]
    matrix = sparse.csr_matrix(([np.log1p(weight) for _, _, weight in taken], ([at for at, _, _ in taken], [item for _, item, _ in taken])),
                               shape=(len(queries), max(1, len(column))), dtype=np.float32)
    length = sparse.linalg.norm(matrix, axis=1)
    matrix = sparse.diags_array(1 / np.maximum(length, 1e-9)).astype(np.float32) @ matrix
    may, lines = np.array([query in allowed for query in queries]), []
    for first in range(0, len(queries), 512):
        same = (matrix[first:first + 512] @ matrix.T).toarray()
        alike = vectors[first:first + 512] @ vectors.T if vectors is not None else np.zeros_like(same)
        score = np.where(may, np.maximum(same, alike), -1)
        for place, query in enumerate(queries[first:first + 512]):
            score[place, first + place] = -1
            best = [item for item in np.argsort(-score[place], kind="stable")[:rules["length"]] if score[place, item] >= rules["least"]]
            if best:
                reasons = ["same_products" if same[place, item] >= alike[place, item] else "similar_meaning" for item in best]
                lines.append((publication_id, query, database.array_literal(queries[item] for item in best),
                              database.array_literal(f"{min(1.0, score[place, item]):.6g}" for item in best), database.array_literal(reasons)))
    return _copy_in(connection, names["related_queries"], ("publication_id", "query", "related", "scores", "reasons"), lines)


def _copy_in(connection, table: str, columns: tuple[str, ...], lines: list[tuple]) -> int:
    stream = io.StringIO()
    csv.writer(stream).writerows(lines)
    stream.seek(0)
    return database.copy_in(connection, table, columns, stream)
