"""The search tables of a publication, from rows in core to what a shopper is answered; on a real PostgreSQL, with real small models."""

import json
import time

import numpy as np
import pytest

from ecomrec import profiles, publication
from ecomrec.compression import retriever
from ecomrec.database import connect
from ecomrec.errors import AuditFailed, InputError
from ecomrec.models import ngram_classifier
from ecomrec.queries import normalise
from ecomrec.search import embeddings, tables
from ecomrec.settings import Settings
from tests import tiny
from tests.shopdata import fill, purchase, rows

DAY = "2017-03-10"
ITEMS = [("s1", "red sofa", "Home/Sofas", "Acme", True, False), ("s2", "blue sofa", "Home/Sofas", None, True, False), ("s3", "old sofa", "Home/Sofas", None, False, False),
         ("m1", "milk", "Dairy/Milk", "Own", True, False), ("m2", "oat milk", "Dairy/Milk", None, True, False), ("x1", "gone", "Home/Sofas", None, True, True)]
# (query, item, people, bought)
SEARCHES = [("Sofa", "s1", 6, True), ("sofa  ", "s2", 3, False), ("couch", "s1", 6, True), ("milk", "m1", 30, True), ("mlik", "m1", 5, False),
            ("oat milk", "m2", 5, False), ("secret wish", "s1", 1, True), ("ann@example.org", "s1", 9, True), ("call 0123456789", "s1", 9, True), ("nasty sofa", "s2", 7, True),
            ("blue sofa", "s2", 1, True), ("mil", "s1", 10, True)]
STRANGE = ["", " ", "x", "z" * 10000, "🛋️", "ｓｏｆａ", "沙发 sofa", "<script>", "'; DROP TABLE recs.query_results; --", "\x07sofa", "sofa\t\n couch", "İstanbul", "e\u0301clair",
           "a\u00a0b", "%_\\", "ΟΔΟΣ", "\ue000sofa", "\U0001fae9 sofa"]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A folder with a real n-gram classifier, a real (untrained) encoder and BM25."""
    folder = tmp_path_factory.mktemp("models")
    encoder = tiny.encoder(folder / "encoder", ["sofa", "couch", "milk", "oat", "red", "blue", "home", "dairy", "old"])
    queries = ["sofa", "couch", "red sofa", "milk", "oat milk", "mlik"] * 3
    ngram_classifier.fit(queries, (["Home/Sofas"] * 3 + ["Dairy/Milk"] * 3) * 3, np.ones(18), 500, 1).save(folder / "classifier", day=DAY)
    retriever.baselines(folder, {"text": {"max_tokens": 16}, "fusion": {"depth": 50}}, Settings(_env_file=None, encoder=str(encoder)), DAY)
    return folder


@pytest.fixture
def filled(shop, sealed, monkeypatch):
    """A shop with a day of searches and both champions."""
    settings = shop.model_copy(update={"threads": 1})
    fill(settings.shop_dsn, ITEMS, [purchase("ann", "s1", DAY)])
    number = 0
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE core.search_outcomes_201703 PARTITION OF core.search_outcomes FOR VALUES FROM ('2017-03-01') TO ('2017-04-01')")
        for query, item, people, bought in SEARCHES:
            for person in range(people):
                number += 1
                cursor.execute("INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, query) VALUES (%s, %s, %s, %s, 'search', %s)",
                               (DAY, f"q{number}", f"{DAY} 10:00+00", f"u{person}", query))
                cursor.execute("INSERT INTO core.search_outcomes VALUES (%s, %s, %s, %s, '', %s, %s, %s, 5, true, false, %s, 1, 1, false)",
                               (DAY, f"q{number}", item, f"u{person}", f"{DAY} 10:00+00", f"{DAY} 10:00+00", query, bought))
        cursor.execute("INSERT INTO ops.banned_terms (term, reason) VALUES ('Nasty', 'test')")
    models = {"query_classifier": {"version": "1", "uri": str(sealed / "classifier"), "kind": ngram_classifier.KIND},
              "retriever": {"version": "1", "uri": str(sealed / "baselines" / "zero_shot"), "kind": "retriever"}}
    # The registry itself has tests of its own; here the models are the sealed folders.
    monkeypatch.setattr(tables, "champion", lambda settings, family: models[family])
    return settings, models


def published(settings, key="run-1"):
    plan = publication.open_publication(settings, key, DAY, "recommender/1 (test)")
    number = plan["publication_id"]
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {publication.partition('user_recommendations', number)} VALUES (%s, 0, 'ann', '{{s1}}', '{{1}}', '{{popular}}', '{{\"\"}}', 'v')", (number,))
    profiles.build(settings, number, DAY)
    built = tables.build(settings, number, DAY)
    publication.go_live(settings, number, publication.audit(settings, number, DAY))
    return number, built


def test_head_queries_get_category_results_and_relations(filled):
    settings, _ = filled
    _, built = published(settings)
    heads = [query for (query,) in rows(settings.shop_dsn, "SELECT query FROM analytics.query_categories ORDER BY 1")]
    assert heads == ["couch", "mil", "milk", "mlik", "nasty sofa", "oat milk", "sofa"] and built["head"] == 7
    found = dict(rows(settings.shop_dsn, "SELECT query, category FROM analytics.query_categories"))
    assert found["couch"] == "Home/Sofas" and found["milk"] == "Dairy/Milk"
    results = rows(settings.shop_dsn, "SELECT query, item_id FROM analytics.query_results ORDER BY query, rank")
    assert {item for _, item in results} <= {"s1", "s2", "m1", "m2"}  # in stock, not deleted
    assert next(item for query, item in results if query == "couch") == "s1"  # what people chose comes first
    related = rows(settings.shop_dsn, "SELECT related, reason FROM analytics.related_queries WHERE query = 'couch' ORDER BY rank")
    assert "sofa" in [name for name, _ in related] and all(name not in ("couch", "nasty sofa") for name, _ in related)


def test_suggestions_complete_correct_and_keep_silent(filled):
    settings, _ = filled
    published(settings)
    expected = {"so": ("sofa", "typed"), "SO": ("sofa", "typed"), " mi": ("milk", "typed"), "mlik": ("milk", "corrected"), "milc": ("milk", "corrected"), "sofs": ("sofa", "corrected"),
                "soffa": ("sofa", "corrected"), "coch": ("couch", "corrected"), "mi lk": ("milk", "corrected"), "secr": None, "ann": None, "nas": None, "call": None}
    found = {typed: rows(settings.shop_dsn, "SELECT suggestion, source FROM analytics.suggest(%s)", typed) for typed in expected}
    assert {typed: answer[0] if answer else None for typed, answer in found.items()} == expected
    assert rows(settings.shop_dsn, "SELECT * FROM analytics.query_suggestions WHERE query = 'mlik'") == []


def test_what_is_banned_is_never_offered_whatever_stands_around_it(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ops.banned_terms (term) VALUES ('不好')")
    expected = {"nasty": True, "a nasty-sofa": True, "nasty, sofa": True, "dynasty sofa": False, "nast": False, "我不好吃": True, "不 太好": False, "": False}
    assert {query: found for query, found in rows(settings.shop_dsn, "SELECT q, core.banned(q) FROM unnest(%s) AS q", list(expected))} == expected
    published(settings)
    assert rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest('nas', 5, 'u0')") == []  # though u0 typed it


def test_what_is_banned_later_is_not_offered_from_what_is_live(filled):
    settings, _ = filled
    published(settings)
    asked = [(typed, user) for typed in ("co", "coucj") for user in (None, "u0")]
    assert all(rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest(%s, 5, %s)", *one)[0] == ("couch",) for one in asked)
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ops.banned_terms (term) VALUES ('Couch')")
    assert [rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest(%s, 5, %s)", *one) for one in asked] == [[]] * 4
    assert rows(settings.shop_dsn, "SELECT query FROM analytics.query_suggestions WHERE query = 'couch' UNION SELECT related FROM analytics.related_queries WHERE related = 'couch'") == []
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:  # an analyst may read the views and nothing else
        cursor.execute("CREATE ROLE only_views; GRANT USAGE ON SCHEMA analytics TO only_views; GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO only_views; SET ROLE only_views")
        cursor.execute("SELECT count(*) FROM analytics.query_suggestions WHERE query = 'milk'")
        assert cursor.fetchone()[0] > 0
        cursor.execute("RESET ROLE; DROP OWNED BY only_views; DROP ROLE only_views")


def test_a_space_behind_a_word_leads_to_that_word(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        for number in range(40):  # stronger, and one letter away
            cursor.execute("INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, query) VALUES (%s, %s, %s, %s, 'search', 'coach bag')",
                           (DAY, f"l{number}", f"{DAY} 10:00+00", f"u{number}"))
            cursor.execute("INSERT INTO core.search_outcomes VALUES (%s, %s, 's2', %s, '', %s, %s, 'coach bag', 5, true, false, true, 1, 1, false)",
                           (DAY, f"l{number}", f"u{number}", f"{DAY} 10:00+00", f"{DAY} 10:00+00"))
    published(settings)
    assert [rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest(%s)", typed)[0] for typed in ("couch", "couch ", "coach")] == [("couch",), ("couch",), ("coach bag",)]


def test_where_no_purchase_follows_a_search_what_is_searched_most_is_suggested_first(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.search_outcomes SET purchased = false")
    published(settings)
    assert rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest('m')")[:2] == [("milk",), ("mil",)]
    assert rows(settings.shop_dsn, "SELECT min(score) > 0 FROM analytics.query_suggestions") == [(True,)]


def test_what_is_sold_out_meanwhile_is_not_found(filled):
    settings, _ = filled
    published(settings)
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET in_stock = false WHERE item_id = 's1'")
    assert "s1" not in [item for item, in rows(settings.shop_dsn, "SELECT item_id FROM analytics.search_products('couch'::text)")]


def test_a_long_beginning_has_to_fit_to_its_end(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        for number in range(12):
            cursor.execute("INSERT INTO core.events (event_day, event_id, event_time, user_id, event_type, query) VALUES (%s, %s, %s, %s, 'search', %s)",
                           (DAY, f"l{number}", f"{DAY} 10:00+00", f"u{number}", f"stainless steel water {'boiler' if number % 2 else 'bottle'}"))
    published(settings)
    for user in (None, "u1"):
        found = {typed: sorted(query for query, in rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest(%s, 5, %s)", typed, user))
                 for typed in ("stainless steel water b", "stainless steel water bott")}
        assert found == {"stainless steel water b": ["stainless steel water boiler", "stainless steel water bottle"], "stainless steel water bott": ["stainless steel water bottle"]}


def test_searches_of_robots_are_not_counted(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE core.bot_users_201703 PARTITION OF core.bot_users FOR VALUES FROM ('2017-03-01') TO ('2017-04-01')")
        cursor.execute("INSERT INTO core.bot_users (event_day, user_id, actions, busiest_minute, active_hours, reason) SELECT %s, 'u' || number, 9, 9, 1, 'test' FROM generate_series(0, 24) AS number", (DAY,))
    published(settings)
    assert rows(settings.shop_dsn, "SELECT query, searches FROM analytics.query_categories") == [("milk", 5)]


def test_a_users_own_queries_come_first_only_for_that_user(filled):
    settings, _ = filled
    published(settings)
    assert rows(settings.shop_dsn, "SELECT suggestion, source FROM analytics.suggest('se', 5, 'u0')") == [("secret wish", "yours")]
    assert rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest('se', 5, 'u4')") == []


def test_a_rare_query_is_suggested_only_in_the_words_of_a_product(filled):
    settings, _ = filled
    published(settings)
    assert rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest('blu')") == [("blue sofa",)]  # one person's, but a product says the same
    assert rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest('secr')") == []


def test_a_user_is_offered_first_what_leads_to_the_categories_that_user_buys(filled):
    settings, _ = filled
    published(settings)
    everybody, ann = (rows(settings.shop_dsn, "SELECT suggestion, source FROM analytics.suggest('mi', 5, %s)", user) for user in (None, "ann"))
    assert everybody == [("milk", "typed"), ("mil", "typed")] and ann == [("mil", "typed"), ("milk", "typed")]  # ann buys sofas, and "mil" led to one


def test_any_text_is_taken_and_sql_spells_as_python_does(filled):
    settings, _ = filled
    published(settings)
    for typed in STRANGE:
        assert rows(settings.shop_dsn, "SELECT core.normal_query(%s)", typed) == [(normalise(typed),)], repr(typed)
        assert isinstance(rows(settings.shop_dsn, "SELECT * FROM analytics.suggest(%s)", typed), list)
        assert isinstance(rows(settings.shop_dsn, "SELECT * FROM analytics.search_products(%s::text)", typed), list)


def test_products_are_found_by_vector_and_by_words(filled):
    settings, _ = filled
    published(settings)
    near = rows(settings.shop_dsn, "SELECT item_id, score FROM analytics.search_products((SELECT embedding FROM core.items WHERE item_id = 'm2'), 2)")
    assert near[0][0] == "m2" and near[0][1] == pytest.approx(1, abs=2e-3) and len(near) == 2
    assert [item for item, in rows(settings.shop_dsn, "SELECT item_id FROM analytics.search_products('blue sofa'::text)")] == ["s2"]
    assert rows(settings.shop_dsn, "SELECT item_id FROM analytics.search_products('couch'::text)")[0] == ("s1",)


def test_chinese_products_are_found_by_a_part_of_their_name(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET title = '红色运动鞋' WHERE item_id = 's1'")
    for typed, found in (("运动鞋", [("s1",)]), ("红色 运动鞋", [("s1",)]), ("绿色运动鞋", [("s1",)]), ("绿帽", []), ("home-sofas", [("s1",), ("s2",)])):
        assert rows(settings.shop_dsn, "SELECT item_id FROM analytics.search_products(%s::text) ORDER BY 1", typed) == found


def test_where_no_product_says_all_words_those_that_say_most_of_them_answer(filled):
    settings, _ = filled
    for typed, found in (("green sofa", [("s1", 0.5), ("s2", 0.5)]), ("red leather home sofa", [("s1", 0.75), ("s2", 0.5)]), ("green velvet sofa", []), ("velvet", [])):
        assert rows(settings.shop_dsn, "SELECT item_id, score FROM analytics.search_products(%s::text)", typed) == found, typed


def test_as_many_neighbours_are_found_as_are_asked_for(filled):
    settings, models = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("""INSERT INTO core.items (item_id, title, category, in_stock, deleted, updated_at, loaded_day)
                          SELECT 'n' || number, translate(left(md5(number::text), 12), '0123456789', 'ghi klmn p'), 'Home/Sofas', number % 3 > 0, false, '2017-01-01', '2017-01-01' FROM generate_series(1, 600) AS number""")
    embeddings.embed(settings, models["retriever"])
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SELECT count(*) FROM analytics.search_products((SELECT embedding FROM core.items WHERE item_id = 's1'), 150)")
        assert cursor.fetchone() == (150,)
        cursor.execute("SHOW hnsw.ef_search")
        assert cursor.fetchone() == ("40",)  # the caller's own searches stay as they were


def test_only_changed_products_are_embedded_again(filled):
    settings, models = filled

    def embedded() -> int:
        return embeddings.embed(settings, models["retriever"])["embedded"]

    assert embedded() == 5  # all but the deleted one
    assert embedded() == 0
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET price = 9, in_stock = false WHERE item_id = 's1'; UPDATE core.items SET title = 'green sofa' WHERE item_id = 's2'")
    assert embedded() == 1
    models["retriever"] = {**models["retriever"], "version": "2"}
    assert embedded() == 5
    assert rows(settings.shop_dsn, "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%%hnsw%%' AND tablename = 'items'") == [(1,)]


def test_ids_that_look_like_numbers_stay_texts(filled):
    settings, _ = filled
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items i SET item_id = n.number FROM (SELECT item_id, '00' || row_number() OVER () AS number FROM core.items) n WHERE n.item_id = i.item_id")
    number = publication.open_publication(settings, "run", DAY, "v")["publication_id"]
    assert tables.build(settings, number, DAY)["embedded"]["embedded"] == 5
    found = rows(settings.shop_dsn, f"SELECT unnest(item_ids) FROM {publication.partition('query_results', number)}")
    assert found and all(item.startswith("00") for item, in found)


def test_vectors_come_back_as_they_were_written(filled):
    settings, models = filled
    embeddings.embed(settings, models["retriever"])
    with connect(settings.shop_dsn) as connection:
        found = embeddings.read_vectors(connection)
    texts = rows(settings.shop_dsn, "SELECT embedding::text FROM core.items WHERE NOT deleted AND in_stock ORDER BY item_id")
    assert np.allclose(found, [json.loads(text) for text, in texts], atol=1e-5) and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)


def test_a_second_build_gives_the_same_rows(filled):
    settings, _ = filled
    number = publication.open_publication(settings, "run-1", DAY, "recommender/1 (test)")["publication_id"]
    everything = [f"SELECT * FROM {publication.partition(table, number)} ORDER BY 1, 2" for table in tables.TABLES] + ["SELECT * FROM ops.publication_models ORDER BY 2"]
    built = []
    for _ in range(2):
        tables.build(settings, number, DAY)
        built.append([rows(settings.shop_dsn, statement) for statement in everything])
    assert built[0] == built[1] and all(built[0]) and built[0][-1] == [(number, "query_classifier", "1"), (number, "retriever", "1")]


def test_without_champions_the_rest_is_published(filled):
    settings, models = filled
    models.update(query_classifier=None, retriever=None)
    _, built = published(settings)
    assert built["query_suggestions"] > 0 and "query_results" not in built
    assert rows(settings.shop_dsn, "SELECT suggestion FROM analytics.suggest('mil')") == [("milk",), ("mil",)]


def test_bm25_alone_serves_too(filled, sealed):
    settings, models = filled
    models["retriever"] = {"version": "1", "uri": str(sealed / "baselines" / "bm25"), "kind": "retriever"}
    published(settings)
    assert rows(settings.shop_dsn, "SELECT item_id FROM analytics.query_results WHERE query = 'milk' AND rank = 1") == [("m1",)]
    assert rows(settings.shop_dsn, "SELECT count(*) FROM core.items WHERE embedding IS NOT NULL") == [(0,)]


def test_a_product_that_was_not_there_stops_the_publication_and_one_that_sold_out_meanwhile_does_not(filled):
    settings, _ = filled
    plan = publication.open_publication(settings, "bad", DAY, "v")
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {publication.partition('user_recommendations', plan['publication_id'])} VALUES (%s, 0, 'ann', '{{s2}}', '{{1}}', '{{popular}}', '{{\"\"}}', 'v')",
                       (plan["publication_id"],))
        cursor.execute(f"INSERT INTO {publication.partition('served_items', plan['publication_id'])} SELECT %s, row_number() OVER (), item_id, title, category, '', 1, in_stock AND NOT deleted, false, '{{}}', '' FROM core.items",
                       (plan["publication_id"],))
    profiles.build(settings, plan["publication_id"], DAY)
    tables.build(settings, plan["publication_id"], DAY)
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET in_stock = false WHERE item_id = 's1'")
    publication.audit(settings, plan["publication_id"], DAY)
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {publication.partition('served_items', plan['publication_id'])} SET available = false WHERE item_id = 's1'")
    with pytest.raises(AuditFailed, match="unavailable_results"):
        publication.audit(settings, plan["publication_id"], DAY)


def test_one_lookup_takes_less_than_two_milliseconds(filled):
    settings, _ = filled
    published(settings)
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        taken = []
        for _ in range(200):
            began = time.perf_counter()
            cursor.execute("SELECT * FROM analytics.suggest('so')")
            cursor.fetchall()
            taken.append(time.perf_counter() - began)
    assert np.median(taken) < 0.002


def test_a_correction_is_planned_with_statistics_from_the_first_reader_on(filled):
    """Without them it reads the whole primary key beside the index of spellings."""
    settings, _ = filled
    number, _ = published(settings)
    assert rows(settings.shop_dsn, "SELECT min(reltuples) >= 0 FROM pg_class WHERE oid = ANY(%s::regclass[])", [publication.partition(table, number) for table in publication.TABLES]) == [(True,)]
    assert rows(settings.shop_dsn, "SELECT count(*) > 0 FROM pg_stats WHERE schemaname || '.' || tablename = %s AND attname = 'spellings'", publication.partition("query_suggestions", number)) == [(True,)]


def test_one_query_is_answered_at_the_command_line(filled, monkeypatch, capsys):
    from ecomrec import cli
    from ecomrec.search import ask

    settings, models = filled
    monkeypatch.setattr(ask, "champion", lambda settings, family: models[family])
    published(settings)
    found = ask.ask(settings, "Couch", 3)
    assert (found["category"], found["by"], found["products"][0]["item_id"], found["suggestions"]) == ("Home/Sofas", "published results", "s1", ["couch"])
    assert ask.ask(settings, "blue sofa", 3)["by"] == "meaning"
    assert ask.ask(settings, "blue\udcff sofa", 3)["by"] == "meaning"  # bytes that are no text
    near, said = [{"item_id": "a", "score": 0.9}, {"item_id": "b", "score": 0.5}, {"item_id": "c", "score": 0.1}], [{"item_id": "b", "score": 3.0}, {"item_id": "d", "score": 1.5}]
    assert [[row["item_id"] for row in ask._fused(near, said, weight, 10, 3)] for weight in (0.9, 0.3)] == [["a", "b", "d"], ["b", "d", "a"]]
    models["retriever"] = {**models["retriever"], "version": "2"}  # promoted, and the products are still where the other one placed them
    assert ask.ask(settings, "blue sofa", 3)["by"] == "words"
    with connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE core.items SET title = 'blue sofa [/x]' WHERE item_id = 's2'")
    monkeypatch.setattr(cli, "settings", lambda: settings)
    cli.search("blue sofa", 3)
    assert "blue sofa [/x]" in capsys.readouterr().out
    models.update(query_classifier=None, retriever=None)
    assert ask.ask(settings, "blue sofa", 3)["products"][0]["item_id"] == "s2"
    cli.search("green spaceship", 3)
    assert "none that is in stock has half of these words; they are searched by meaning too once" in capsys.readouterr().out
    with pytest.raises(InputError, match="empty"):
        ask.ask(settings, " \x00", 3)
