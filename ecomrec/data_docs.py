"""Great Expectations' own page of a load's checks (its Data Docs), as one HTML file that needs no network and no script."""

import re
import secrets
import tempfile
from pathlib import Path

from ecomrec.settings import Settings
from ecomrec.store import open_store

FOLDER = "docs/checks"  # of the object store
STYLE = """<style>
:root { color-scheme: light dark } body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem } th, td { border: 1px solid #8885; padding: .35rem .6rem; text-align: left; vertical-align: top }
.text-success { color: #1a8f3c } .text-danger { color: #d3302f } .text-warning { color: #c77700 } .badge { background: #8883; border-radius: .3rem; padding: 0 .35rem }
i.fas { font-style: normal; font-weight: bold } .fa-check-circle::before { content: "\\2713" } .fa-times::before, .fa-times-circle::before { content: "\\2717" }
.fa-exclamation-triangle::before { content: "!" } nav, .navbar, .ge-walkthrough-modal, .modal, .sidebar, .side-bar, footer, button, .cooltip, .tooltip-text, .toc, .col-lg-2, a[data-toggle], .collapse { display: none }
pre { white-space: pre-wrap }
</style>"""
OUTSIDE = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>|<img\b[^>]*>|<noscript\b.*?</noscript>|<footer\b.*?</footer>|<title>.*?</title>", re.DOTALL | re.IGNORECASE)


def write(settings: Settings, library, name: str, kind: str, days: list[str], results: list) -> str:
    """Stores the page of these results (Great Expectations' ExpectationValidationResult); returns its key in the object store.

    `library`: the module great_expectations; `name`: the suite as the page calls it.
    """
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    passed = sum(bool(result.success) for result in results)
    statistics = {"evaluated_expectations": len(results), "successful_expectations": passed, "unsuccessful_expectations": len(results) - passed,
                  "success_percent": 100 * passed / len(results) if results else None}
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    whole = ExpectationSuiteValidationResult(success=passed == len(results), results=results, suite_name=f"{name}, {span}", statistics=statistics,
                                             meta={"great_expectations_version": library.__version__, "active_batch_definition": {"datasource_name": "shop", "data_asset_name": kind}})
    html = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(whole))
    html = OUTSIDE.sub("", html).replace("</head>", f"<title>{name}, {span}</title>{STYLE}</head>", 1)
    key = f"{FOLDER}/{kind}/{days[0]}{'' if len(days) == 1 else '..' + days[-1]}-{secrets.token_hex(6)}.html"
    with tempfile.TemporaryDirectory(prefix="ecomrec-") as folder:
        path = Path(folder) / "page.html"
        path.write_text(html, encoding="utf-8")
        open_store(settings).put(path, key)
    return key
