"""The catalogue: snapshots and deltas into `core.items` (now) and `core.item_history` (any day), in any order, any number of times."""

import time
from collections.abc import Callable

from psycopg2.extras import execute_values

from ecomrec import database, validation
from ecomrec.contract import ITEM_FIELDS
from ecomrec.errors import InputError, ValidationFailed
from ecomrec.ingest.files import check_lines, days_between, read_day, rejected_rows, scratch, worst_reason
from ecomrec.ingest.staging import staging_table
from ecomrec.settings import Settings

COLUMNS = ("item_id", "title", "description", "category", "brand", "price", "currency", "image_url", "attributes", "in_stock", "updated_at", "deleted",
           "loaded_day")
CHECK = """
    CASE WHEN NOT valid THEN 'not a JSON object'
         WHEN item_id IS NULL THEN 'item_id is missing'
         WHEN deleted IS DISTINCT FROM 'true' AND title IS NULL THEN 'title is missing'
         WHEN deleted IS DISTINCT FROM 'true' AND category IS NULL THEN 'category is missing'
         WHEN price IS NOT NULL AND NOT coalesce(isfinite(try_cast(price AS DOUBLE)), false) THEN 'price is not a number: ' || price
         WHEN updated_at IS NOT NULL AND try_cast(updated_at AS TIMESTAMPTZ) IS NULL THEN 'updated_at is not a time: ' || updated_at
         WHEN try_cast(coalesce(in_stock, 'true') AS BOOLEAN) IS NULL THEN 'in_stock is not true or false: ' || in_stock
         WHEN try_cast(coalesce(deleted, 'false') AS BOOLEAN) IS NULL THEN 'deleted is not true or false: ' || deleted
    END"""


def load_catalog(settings: Settings, day: str) -> dict:
    """Loads one day's catalogue files. Returns `{"day", "files", "rows_read", "rows_loaded", "rows_rejected", "seconds"}`.

    Raises InputError or ValidationFailed; the catalogue then stays as it was.
    """
    return _load(settings, [day])


def load_catalog_history(settings: Settings, first: str, last: str, echo: Callable[[str], None] = print) -> dict:
    """Loads the catalogue files of all days from `first` to `last`; days without any are passed over (a shop may send only changes)."""
    done = _load(settings, days_between(first, last), skip_missing=True)
    echo(f"{done['rows_loaded']:,} catalogue rows in {done['seconds']} s")
    return done


def _load(settings: Settings, days: list[str], skip_missing: bool = False) -> dict:
    started, files = time.monotonic(), {}
    with scratch() as (duck, folder):
        for day in days:
            try:
                files[day] = read_day(duck, settings, "catalog", day, folder)
            except InputError as error:
                if not skip_missing or "no files for" not in error.message:
                    raise
        if not files:
            raise InputError(f"no catalogue files from {days[0]} to {days[-1]}", f"put the first snapshot under {settings.store}/raw/catalog/dt={days[0]}/")
        counts = check_lines(duck, ITEM_FIELDS, CHECK)
        path = folder / "good.csv"
        duck.execute(f"""
            COPY (SELECT item_id, coalesce(title, ''), description, coalesce(category, ''), brand, try_cast(price AS DOUBLE), currency, image_url,
                         coalesce(json_extract(object, '$.attributes'), '{{}}'), coalesce(in_stock, 'true')::BOOLEAN,
                         coalesce(try_cast(updated_at AS TIMESTAMPTZ), day::TIMESTAMPTZ), coalesce(deleted, 'false')::BOOLEAN, day
                  FROM checked WHERE reason IS NULL
                  QUALIFY row_number() OVER (PARTITION BY day, item_id ORDER BY file DESC, line DESC) = 1 ORDER BY day, item_id)
            TO '{path}' (FORMAT csv, HEADER false)""")
        for day, keys in files.items():
            read, rejected = counts.get(day, (0, 0))
            if not read:
                raise InputError(f"the catalogue of {day} is empty: {', '.join(keys)}", "have it delivered again; the catalogue stays as it was")
            if rejected > settings.max_rejected_share * read:
                raise ValidationFailed(f"the catalogue of {day}: {rejected:,} of {read:,} rows break the contract, for example: {worst_reason(duck, day)}",
                                       "mend the shop's export and run the day again; the catalogue stays as it was")
        bad = [row for day in files for row in rejected_rows(duck, "catalog", day)]
        with staging_table(settings, "catalog", "core.items") as table:
            with database.connect(settings.shop_dsn, application="ecomrec stage") as connection, path.open("rb") as stream:
                database.copy_in(connection, table, COLUMNS, stream)
            results = validation.validate(settings, table, "catalog", "loaded_day", sorted(files))
            for day, result in results.items():
                if result.failed:
                    raise ValidationFailed(f"the catalogue of {day} does not pass: {'; '.join(result.failed)}",
                                           "see the shop's export; the catalogue stays as it was")
            loaded = 0
            with database.connect(settings.shop_dsn, application="ecomrec load catalog") as connection:
                database.lock(connection, "catalog")
                for day in sorted(files):
                    whole = any(key.rsplit("/", 1)[-1].startswith("snapshot") for key in files[day])
                    database.execute(connection, "ingest/apply_catalog", {"day": day, "whole": whole}, table=table)
                    validation.record(connection, "catalog", day, results.get(day))
                    database.execute(connection, "ingest/clear_rejected", {"kind": "catalog", "day": day})
                    read, rejected = counts[day]
                    loaded += read - rejected
                    database.execute(connection, "ingest/record_load", {
                        "kind": "catalog", "day": day, "state": "loaded", "files": len(files[day]), "rows_read": read, "rows_loaded": read - rejected,
                        "rows_rejected": rejected, "seconds": time.monotonic() - started, "reason": None})
                with connection.cursor() as cursor:
                    execute_values(cursor, "INSERT INTO ops.rejected_rows (kind, day, file, line, reason, payload) VALUES %s", bad, page_size=1000)
    return {"day": max(files), "files": sum(map(len, files.values())), "rows_read": sum(read for read, _ in counts.values()), "rows_loaded": loaded,
            "rows_rejected": len(bad), "seconds": round(time.monotonic() - started, 1)}
