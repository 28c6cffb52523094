"""The shop's promotions: one TOML file, checked as a whole when it is loaded. docs/promotions.md explains every key.

Promotions that have ended belong in the file too: what became of them is what the model learns from.
"""

import tomllib
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecomrec.errors import SettingsError
from ecomrec.recommend.rules import Match
from ecomrec.settings import Settings


class Promotion(Match):
    """A campaign or coupon; the keys of `Match` say which products it covers."""

    id: str = Field(min_length=1)
    title: str = Field(min_length=1)
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    cost: float = Field(0.0, ge=0)            # of one contact
    discount: float = Field(0.0, ge=0)        # given away with each redemption
    margin: float = Field(1.0, gt=0, le=1)    # what the shop keeps of what is spent more
    budget: int | None = Field(None, ge=0)    # contacts in all, those made already included

    @model_validator(mode="after")
    def _possible(self):
        if self.first > self.last:
            raise ValueError(f"it would run from {self.first} to {self.last}: never")
        if not self.names() and self.price_from is None and self.price_to is None:
            raise ValueError("it covers nothing: say which products (category, brand, item, tag, campaign, price_from, price_to)")
        return self


class Offers(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_user: int = Field(3, ge=1)      # promotions that a user is shown at once
    contacts: int = Field(4, ge=1)      # contacts a user may have had in `window` days, new ones included
    window: int = Field(28, ge=1)       # days
    promotions: list[Promotion] = []

    @model_validator(mode="after")
    def _distinct(self):
        ids = [promotion.id for promotion in self.promotions]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"the id {twice[0]!r} stands there twice")
        return self

    def running(self, day: date) -> list[Promotion]:
        """The promotions that run on `day`."""
        return [promotion for promotion in self.promotions if promotion.first <= day <= promotion.last]


def load(settings: Settings) -> Offers:
    """The promotions of ECOMREC_PROMOTIONS; none without that setting. Raises SettingsError that names the file, the entry and what is wrong."""
    return read(settings.promotions) if settings.promotions else Offers()


def read(path: Path) -> Offers:
    """As `load`, from this file."""
    remedy = "mend the file that ECOMREC_PROMOTIONS names (docs/promotions.md) and run it again"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}", remedy) from None
    try:
        return Offers(**content)
    except ValidationError as error:
        found = error.errors()[0]
        where = list(found["loc"])
        if len(where) > 1 and where[0] == "promotions":
            entry = content["promotions"][where[1]]
            where[:2] = [f"promotion {entry.get('id', where[1] + 1)!r}" if isinstance(entry, dict) else f"promotion {where[1] + 1}"]
        raise SettingsError(f"{path}: {', '.join(map(str, where)) or 'the file'}: {found['msg'].removeprefix('Value error, ')}", remedy) from None
