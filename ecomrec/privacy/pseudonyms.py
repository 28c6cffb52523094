"""Pseudonyms instead of user ids: keyed HMAC-SHA-256 (RFC 2104), cut to 128 bits, written as `u` and 22 base64url characters.

Without the key a pseudonym can be neither made nor undone. Keys form a chain, oldest first: each is applied to what the one
before it gave, so that stored pseudonyms can be re-keyed without the raw ids (docs/decisions/0020). DuckDB makes them where
the files are read, so a raw id never reaches Postgres.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ecomrec import database
from ecomrec.errors import SettingsError
from ecomrec.settings import Settings

SHAPE = re.compile(r"u[A-Za-z0-9_-]{22}")
BLOCK = 64  # bytes of a SHA-256 block
MIN_KEY = 32  # characters
MACRO = "CREATE OR REPLACE TEMPORARY MACRO pseudonym(id) AS {body}"


@dataclass(frozen=True)
class Pseudonyms:
    """The keys in effect, oldest first; none when the shop's ids are pseudonyms already and pass as they are."""

    keys: tuple[bytes, ...]

    def of(self, user_id: str) -> str:
        """The pseudonym of a raw id."""
        return self.versions(user_id)[-1]

    def versions(self, user_id: str) -> list[str]:
        """The raw id, and what each key made of it: what files from before a rotation may still hold."""
        found = [user_id]
        for key in self.keys:
            found.append(_encode(hmac.digest(key, found[-1].encode("utf-8", "surrogatepass"), "sha256")))
        return found

    def fingerprint(self, count: int | None = None) -> str:
        """What the database remembers of the first `count` keys (all of them): tells keys apart, says nothing about them."""
        keys = self.keys[:count]
        return Pseudonyms(keys).of("ecomrec: which keys are these?") if keys else "none"

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the macro `pseudonym(text)` on this connection. Keys go in as variables: no statement and no error shows them."""
        body = "CAST(id AS VARCHAR)"
        for number, key in enumerate(self.keys):
            inner, outer = pads(key)
            connection.execute(f"SET VARIABLE ecomrec_inner_{number} = CAST(? AS BLOB)", [inner])
            connection.execute(f"SET VARIABLE ecomrec_outer_{number} = CAST(? AS BLOB)", [outer])
            digest = f"sha256(getvariable('ecomrec_outer_{number}') || unhex(sha256(getvariable('ecomrec_inner_{number}') || encode({body}))))"
            body = f"('u' || translate(left(to_base64(unhex(left({digest}, 32))), 22), '+/', '-_'))"
        connection.execute(MACRO.format(body=body))


def of(settings: Settings) -> Pseudonyms:
    """The keys of these settings. Raises SettingsError when there is none and one may not be made up, or one is too short."""
    if settings.user_ids == "pseudonyms":
        return Pseudonyms(())
    if settings.user_key is not None:
        text, place = settings.user_key.get_secret_value(), "ECOMREC_USER_KEY"
    elif settings.embedded_postgres:
        place = str(_file(settings))
        text = _file(settings).read_text(encoding="utf-8") if _file(settings).exists() else add_key(settings)
    else:
        raise SettingsError("ECOMREC_USER_KEY is not set, and user ids may not be stored as they come",
                            "make one (python3 -c 'import secrets; print(secrets.token_urlsafe(32))'), keep it where your other secrets are and set it on every "
                            "machine; if your files hold pseudonyms already, set ECOMREC_USER_IDS=pseudonyms")
    keys = [key.strip() for key in re.split(r"[\n,]", text) if key.strip()]
    if not keys or min(map(len, keys)) < MIN_KEY:
        raise SettingsError(f"{place}: a key has fewer than {MIN_KEY} characters", "use `python3 -c 'import secrets; print(secrets.token_urlsafe(32))'`; "
                            "several keys, oldest first, are separated by commas")
    return Pseudonyms(tuple(key.encode() for key in keys))


def checked(settings: Settings) -> Pseudonyms:
    """The same, held against what the database's ids were made with. Raises SettingsError rather than let one person become two.

    The first load of an empty database decides; after that only `ecomrec rotate-key` changes it.
    """
    found = of(settings)
    with database.connect(settings.shop_dsn, application="ecomrec key") as connection:
        stored = remembered(connection)
        if stored is None:
            stored = database.query(connection, "privacy/remember_key", {"fingerprint": found.fingerprint(), "keys": len(found.keys)})[0]["fingerprint"]
    if stored != found.fingerprint():
        if any(stored == found.fingerprint(count) for count in range(len(found.keys))):
            raise SettingsError("the key chain is longer than the one that the database's user ids were made with", "run `ecomrec rotate-key` to re-key them")
        raise SettingsError("the database's user ids were made with another key" if found.keys else "the database's user ids were made with a key, and ECOMREC_USER_IDS=pseudonyms",
                            "put the old ECOMREC_USER_KEY (and ECOMREC_USER_IDS) back; to change the key append the new one, old,new, and run `ecomrec rotate-key`")
    return found


def remembered(connection) -> str | None:
    """The fingerprint of the keys that the stored ids were made with: `none` for ids as they came, None for an empty database."""
    return database.query(connection, "privacy/remembered_key")[0]["fingerprint"]


def add_key(settings: Settings) -> str:
    """Appends a new key to the embedded system's key file (mode 600); returns the whole chain."""
    path = _file(settings)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(before + secrets.token_urlsafe(32) + "\n")
    if before:
        os.replace(temporary, path)
    else:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # of two that start together one wins, and both read its key
        temporary.unlink()
    return path.read_text(encoding="utf-8")


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The inner and outer block of HMAC-SHA-256 (RFC 2104)."""
    block = (hashlib.sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    return bytes(c ^ 0x36 for c in block), bytes(c ^ 0x5C for c in block)


def _file(settings: Settings) -> Path:
    return settings.home.resolve() / "user.key"


def _encode(digest: bytes) -> str:
    return "u" + base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
