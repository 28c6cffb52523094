"""The rules compiled for one day and one catalogue: masks and numbers per item, applied to all users of a block at once.

Hard rules (availability, exclude, include, repeat, block) take items away before the best are chosen, so what is left is exact.
Soft ones (boost, bury, caps, pins) work on the candidates; what is boosted is always among them.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from ecomrec.models import Histories
from ecomrec.recommend.catalogue import Catalogue
from ecomrec.recommend.rules import Rule, Rules

NEVER = np.iinfo(np.int32).max
AVAILABILITY, BOUGHT, SEEN = "availability", "repeat: bought", "repeat: seen"  # names of what is not a [[rules]] entry, in the report


@dataclass(frozen=True)
class Policy:
    """See `compile`."""

    rules: Rules
    day: int                                   # days since 1970-01-01
    length: int                                # items of a list whose context names none
    allowed: np.ndarray                        # bool [I], what hard rules without context and segment leave
    hidden: list[tuple[str, np.ndarray]]       # what each of them takes away, bool [I]; for the report
    segments: dict[str, np.ndarray]            # segment -> bool [I], what its own hard rules leave
    segment_rules: list[tuple[str, frozenset, np.ndarray]]
    contexts: dict[str, np.ndarray]            # context -> bool [I], what its own hard rules leave
    after_bought: np.ndarray                   # int32 [I], days until an item may come again; 0: always, NEVER: never
    after_seen: np.ndarray
    blocks: list[tuple[str, np.ndarray, np.ndarray]]  # name, bought [I], never shown [I]
    lifts: list[tuple[Rule, np.ndarray]]       # boosts and buries, with their items
    caps: list[tuple[Rule, np.ndarray]]
    pins: list[tuple[Rule, int]]               # with the item
    wanted: list[np.ndarray]                   # bool [I] each: items whose best are candidates whatever they score

    @cached_property
    def forbidden(self) -> np.ndarray:
        """float32 [I]: -inf where `allowed` is False, else 0."""
        return np.where(self.allowed, 0, -np.inf).astype(np.float32)

    def open_to(self, segment: str) -> np.ndarray:
        """bool [I]: what users of this segment may be shown."""
        return self.allowed & self.segments[segment] if segment in self.segments else self.allowed


def compile(rules: Rules, catalogue: Catalogue, day: date, length: int, exclude_bought: bool) -> Policy:
    """The rules that hold on `day`, for this catalogue."""
    everything = np.ones(len(catalogue), dtype=bool)
    hidden, segments, segment_rules, contexts = [(AVAILABILITY, ~catalogue.available)], {}, [], {}
    blocks, lifts, caps, pins = [], [], [], []
    active = [rule for rule in rules.rules if rule.holds(day)]
    for rule in active:
        for segment in rule.segments or ():
            segments.setdefault(segment, everything.copy())
    for rule in active:
        mask = rule.mask(catalogue)
        match rule.do:
            case "exclude" | "include":
                gone = mask if rule.do == "exclude" else ~mask
                if rule.contexts:
                    for name in rule.contexts:
                        contexts[name] = contexts.get(name, everything) & ~gone
                elif rule.segments:
                    segment_rules.append((rule.name, frozenset(rule.segments), gone))
                    for segment in rule.segments:
                        segments[segment] &= ~gone
                else:
                    hidden.append((rule.name, gone))
            case "boost" | "bury":
                lifts.append((rule, mask))
            case "cap":
                caps.append((rule, mask))
            case "pin":
                pins += [(rule, int(item)) for item in np.flatnonzero(mask)]
            case "block":
                blocks.append((rule.name, rule.when_bought.mask(catalogue), mask))
    allowed = everything & ~np.logical_or.reduce([mask for _, mask in hidden])
    waits = {after: np.zeros(len(catalogue), dtype=np.int32) for after in ("bought", "seen")}
    if exclude_bought:
        waits["bought"][:] = NEVER
    for repeat in rules.repeat:
        waits[repeat.after][repeat.mask(catalogue)] = {"always": 0, "never": NEVER}.get(repeat.again, repeat.again)
    # What is boosted, pinned, of a context's own range, or new where new is drawn.
    groups = [mask for rule, mask in lifts if rule.do == "boost"] + list(contexts.values()) + [np.arange(len(catalogue)) == item for _, item in pins]
    if any(context.explore for context in rules.contexts.values()):
        groups.append(catalogue.fresh)
    wanted = [left for mask in groups if (left := mask & allowed).any()]
    number = (day - date(1970, 1, 1)).days
    return Policy(rules, number, length, allowed, hidden, segments, segment_rules, contexts, waits["bought"], waits["seen"], blocks, lifts, caps, pins, wanted)


def waiting(policy: Policy, histories: Histories, waits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(user place, item) pairs that may not be shown yet, given when the user bought or saw what."""
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    wait = waits[histories.items]
    held = policy.day - histories.days.astype(np.int64) < wait
    return user[held], histories.items[held]


def blocked(policy: Policy, histories: Histories) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """For each block rule: its name, the places of the users that it holds for, and the items that they never see, bool [I]."""
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    return [(name, np.unique(user[bought[histories.items]]), shown) for name, bought, shown in policy.blocks]
