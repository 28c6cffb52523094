"""What `make demo` shows at its end: the stages, the gates, what is live and why, one household, and where to look."""

import sys
from urllib.parse import urlsplit, urlunsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecomrec import database
from ecomrec.settings import Settings

ROWS = 8
QUERIES = {
    "What is live": "SELECT * FROM analytics.publication;",
    "The best item of each user, and why": "SELECT user_id, title, reason, because_title FROM analytics.user_recommendations WHERE rank = 1 LIMIT 10;",
    "Which households are going cold": "SELECT lifecycle, count(*), round(avg(spend)::numeric, 2) AS spend FROM analytics.user_profiles GROUP BY 1 ORDER BY 2 DESC;",
}
WHY = {"bought_again": "bought again", "goes_with": "goes with", "popular": "popular now"}


def show(settings: Settings, figures: dict, place: dict, pages: dict[str, str]) -> None:
    """Prints the report. `figures` is the content of demo.json, `place` what `runtime.up` returned."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=False)
    with database.connect(settings.shop_dsn, application="ecomrec demo report") as connection:
        console.print(stages(figures))
        console.print(gates(database.query(connection, "demo/gates")))
        _live(console, connection)
        _household(console, connection)
    console.rule("Look for yourself")
    console.print(f"Airflow:  {place['url']}   user {place['user']}   password {place['password']}", soft_wrap=True)
    for name, page in pages.items():
        console.print(f"  {name}: {page}", soft_wrap=True)
    console.print(f".venv/bin/ecomrec psql   opens {masked(settings.shop_dsn)}; three queries to try:", soft_wrap=True, markup=False)
    for title, query in QUERIES.items():
        console.print(f"  -- {title}\n  {query}", soft_wrap=True, markup=False)
    console.print(f"figures of this demo: {settings.home / 'demo.json'}", soft_wrap=True)


def masked(dsn: str) -> str:
    """The URL without its password."""
    parts = urlsplit(dsn)
    login, at, host = parts.netloc.rpartition("@")
    query = "&".join(part for part in parts.query.split("&") if not part.startswith("password="))
    return urlunsplit(parts._replace(netloc=login.partition(":")[0] + at + host, query=query))


def stages(figures: dict) -> Table:
    """Stage, seconds, rows; and the total with the highest memory of everything together."""
    table = Table(title="Stages", title_justify="left", show_footer=True)
    table.add_column("stage", footer=f"everything (memory at most {figures['peak_pss_gb']:.2f} GB)")
    table.add_column("seconds", justify="right", footer=f"{figures['total_s']:.1f}")
    table.add_column("rows", justify="right")
    table.add_column("")
    for stage in figures["stages"]:
        rows = "" if stage["rows"] is None else f"{stage['rows']:,}"
        table.add_row(stage["stage"], f"{stage['seconds']:.1f}", rows, "kept from an earlier run" if stage["kept"] else "")
    return table


def gates(rows: list[dict]) -> Table:
    """One line for each gate: the verdict, the value with its 95 % interval, the threshold, and the sentence."""
    table = Table(title="Gates: is the new model proven better on days that it has not seen?", title_justify="left")
    for name, justify in (("family", "left"), ("gate", "left"), ("verdict", "left"), ("value", "right"), ("95 % interval", "right"),
                          ("threshold", "right"), ("in words", "left")):
        table.add_column(name, justify=justify)
    colours = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
    for row in rows:
        table.add_row(row["family"], row["gate"], f"[{colours[row['verdict']]}]{row['verdict'].upper()}[/]", f"{row['value']:.4f}",
                      f"{row['low']:.4f} to {row['high']:.4f}", f"{row['threshold']:.4f}", row["sentence"])
    return table


def _live(console: Console, connection) -> None:
    console.rule("What is live, and why")
    for row in database.query(connection, "demo/live"):
        console.print(f"publication {row['publication_id']} of {row['day']}: {row['users']:,} users, {row['items']:,} different items, "
                      f"by {row['model_version']}", soft_wrap=True)
    for row in database.query(connection, "demo/champions"):
        console.print(f"  {row['family']}: version {row['version']} serves, because {row['reason']}", soft_wrap=True)
    [searches] = database.query(connection, "demo/simulated")
    if searches["simulated"]:
        console.print(f"  {searches['simulated']:,} of {searches['searches']:,} searches are SIMULATED: the data set has none. Whatever the query "
                      "classifier shows, it shows on simulated searches. Purchases are real.", soft_wrap=True)


def _household(console: Console, connection) -> None:
    console.print("Users go by pseudonyms in every table; `ecomrec pseudonym 1` prints the one of household 1.", soft_wrap=True)
    for user in database.query(connection, "demo/household"):
        console.rule(f"Household {user['user_id']}: {user['orders']} shopping days, {user['spend']:,.2f} spent, {user['lifecycle']}")
        parameters = {"user_id": user["user_id"], "rows": ROWS}
        bought = Table(title="bought last", title_justify="left")
        bought.add_column("day")
        bought.add_column("item")
        for row in database.query(connection, "demo/purchases", parameters):
            bought.add_row(str(row["day"]), escape(row["title"] or "?"))
        liked = Table(title="recommended now", title_justify="left")
        liked.add_column("", justify="right")
        liked.add_column("item")
        liked.add_column("why")
        for row in database.query(connection, "demo/recommendations", parameters):
            why = WHY[row["reason"]] + (f" {row['because_title']}" if row["reason"] == "goes_with" else "")
            liked.add_row(str(row["rank"]), escape(row["title"] or "?"), escape(why))
        beside = Table.grid(padding=(0, 2))
        beside.add_row(bought, liked)
        console.print(beside)
        searches = database.query(connection, "demo/searches", {**parameters, "rows": 4})
        if searches:
            label = "searched last, SIMULATED" if any(row["simulated"] for row in searches) else "searched last"
            console.print(f"{label}: " + ", ".join(f"“{row['query']}”" for row in searches), soft_wrap=True, markup=False)
