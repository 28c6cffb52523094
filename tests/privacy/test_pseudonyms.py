"""Pseudonyms are HMAC-SHA-256, wherever they are made; another key is refused; a key can be changed."""

import hashlib
import hmac
import os
import random
import stat

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from ecomrec.database import connect
from ecomrec.errors import SettingsError
from ecomrec.privacy import erasure, pseudonyms, tombstones
from ecomrec.privacy.pseudonyms import SHAPE, Pseudonyms
from ecomrec.privacy.rotation import rotate
from ecomrec.settings import Settings
from tests.shopdata import fill, purchase, rows

KEYS = (b"k" * 40, b"another key, longer than a block of SHA-256 has bytes, which RFC 2104 hashes first")
NEW = "the-new-key-of-the-tests-also-long-enough"


def quiet(line: str) -> None:
    pass


def ids() -> list[str]:
    source = random.Random(1)
    made = ["".join(chr(source.choice((source.randrange(32, 127), source.randrange(0xA1, 0x2FFF), source.randrange(0x4E00, 0x9FFF), source.randrange(0x1F300, 0x1F9FF))))
                    for _ in range(source.randrange(1, 90))) for _ in range(300)]
    return [*made, "", "1", "'", '"\\', "x" * 5000]


@pytest.mark.parametrize("keys", [KEYS[:1], KEYS[1:], KEYS])
def test_duckdb_makes_what_python_makes(keys):
    made = Pseudonyms(keys)
    with duckdb.connect() as connection:
        made.prepare(connection)
        found = connection.execute("SELECT pseudonym(id) FROM (SELECT unnest(?) AS id)", [ids()]).fetchall()
    assert [one for (one,) in found] == [made.of(user) for user in ids()]
    assert all(SHAPE.fullmatch(one) for (one,) in found)


def test_a_pseudonym_is_128_bits_of_hmac():
    import base64

    digest = hmac.new(KEYS[0], "käufer 1".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(Pseudonyms(KEYS[:1]).of("käufer 1")[1:] + "==") == digest[:16]


def test_no_error_of_duckdb_shows_the_key():
    with duckdb.connect() as connection:
        Pseudonyms((b"SECRETSECRET" * 4,)).prepare(connection)
        with pytest.raises(duckdb.Error) as error:
            connection.execute("SELECT pseudonym(nothing)")
        assert "SECRET" not in str(error.value)


def test_the_embedded_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    settings = Settings(_env_file=None, home=tmp_path)
    first = pseudonyms.of(settings)
    assert pseudonyms.of(settings) == first and len(first.keys) == 1
    assert stat.S_IMODE(os.stat(tmp_path / "user.key").st_mode) == 0o600


def test_an_own_database_needs_an_own_key(shop):
    with pytest.raises(SettingsError, match=r"ECOMREC_USER_KEY is not set(.|\n)*token_urlsafe"):
        pseudonyms.of(shop.model_copy(update={"user_key": None}))
    with pytest.raises(SettingsError, match="fewer than 32"):
        pseudonyms.of(shop.model_copy(update={"user_key": SecretStr("short")}))
    assert pseudonyms.of(shop.model_copy(update={"user_key": None, "user_ids": "pseudonyms"})).of("u1") == "u1"


def test_another_key_is_refused_rather_than_making_two_of_everybody(shop):
    pseudonyms.checked(shop)
    pseudonyms.checked(shop)
    with pytest.raises(SettingsError, match="made with another key"):
        pseudonyms.checked(shop.model_copy(update={"user_key": SecretStr(NEW)}))
    with pytest.raises(SettingsError, match="USER_IDS=pseudonyms"):
        pseudonyms.checked(shop.model_copy(update={"user_ids": "pseudonyms"}))
    with pytest.raises(SettingsError, match="rotate-key"):
        pseudonyms.checked(longer(shop))


def longer(settings: Settings) -> Settings:
    return settings.model_copy(update={"user_key": SecretStr(f"{settings.user_key.get_secret_value()}, {NEW}")})


def test_raw_ids_of_an_older_database_are_not_mixed_with_pseudonyms(shop):
    fill(shop.shop_dsn, [], [purchase("user-1", "i0", "2017-03-01")])
    with pytest.raises(SettingsError, match="rotate-key"):
        pseudonyms.checked(shop)
    assert rotate(shop, "test", quiet)["rows"] == 1
    assert rows(shop.shop_dsn, "SELECT user_id FROM core.events") == [(pseudonyms.checked(shop).of("user-1"),)]


def test_a_rotation_re_keys_everything_and_loses_nobody(shop):
    of = pseudonyms.checked(shop).of
    fill(shop.shop_dsn, [], [purchase(of(f"user-{n}"), "i0", day) for n in range(5) for day in ("2017-03-01", "2017-03-02")])
    erasure.bury(shop, erasure.identify(shop, ["user-9"]), quiet)
    place = os.path.join(shop.store.removeprefix("file://"), "work/r/recommender/dataset")
    os.makedirs(place)
    pq.write_table(pa.table({"user_id": [of("user-1"), "guest"]}), f"{place}/users.parquet")
    old, shop = of("user-1"), longer(shop)
    with connect(shop.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE recs.user_profiles_p7 (user_id text, n int)")  # being built, not attached
        cursor.execute("INSERT INTO recs.user_profiles_p7 VALUES (%s, 1)", (old,))
    assert rotate(shop, "test", quiet) | {"seconds": 0, "tables": 0} == {"rows": 12, "files": 1, "seconds": 0, "tables": 0}
    new = pseudonyms.checked(shop)
    assert new.versions("user-1")[1:] == [old, new.of("user-1")]
    assert {user for (user,) in rows(shop.shop_dsn, "SELECT DISTINCT user_id FROM core.events")} == {new.of(f"user-{n}") for n in range(5)}
    assert rows(shop.shop_dsn, "SELECT user_id FROM recs.user_profiles_p7") == [(new.of("user-1"),)]
    assert tombstones.erased(shop) == [new.of("user-9")]
    assert pq.read_table(f"{place}/users.parquet")["user_id"].to_pylist() == ["<erased>", "guest"]
    with pytest.raises(SettingsError, match="names no new key"):
        rotate(shop, "test", quiet)
    with pytest.raises(SettingsError, match="do not begin with"):
        rotate(shop.model_copy(update={"user_key": SecretStr(NEW)}), "test", quiet)


def test_what_was_written_under_the_old_key_is_refused_after_a_rotation(shop):
    before = pseudonyms.checked(shop)
    rotate(longer(shop), "test", quiet)
    with pytest.raises(SettingsError, match="was changed while this ran"), connect(shop.shop_dsn) as connection:
        tombstones.same_key(connection, before)


def test_the_shops_own_pseudonyms_have_no_key_to_rotate(shop):
    with pytest.raises(SettingsError, match="no key to change"):
        rotate(shop.model_copy(update={"user_ids": "pseudonyms"}), "test", quiet)
