"""Of several feeds it is known which tells first, by how much, and which misses something."""

from __future__ import annotations

from monitor.pipeline.leads import BEHIND_BUCKETS_S, Leads

BOTH = frozenset({"a", "b"})


def test_the_first_leads_and_the_other_is_behind() -> None:
    """By the time between the two; a third copy of a feed counts for nothing."""
    leads = Leads(["a", "b"])
    leads.told("a", "s", 1, 10.0, BOTH)
    leads.told("b", "s", 1, 10.03, BOTH)
    leads.told("b", "s", 1, 10.09, BOTH)
    assert (leads.feeds["a"].first, leads.feeds["a"].later) == (1, 0)
    assert (leads.feeds["b"].first, leads.feeds["b"].later) == (0, 1)
    assert leads.feeds["b"].behind[BEHIND_BUCKETS_S.index(0.05)] == 1
    assert round(leads.feeds["b"].behind_s, 3) == 0.03


def test_what_is_not_told_in_time_is_missed_by_who_was_up() -> None:
    """A feed that was away then has missed it as a whole, which is a hole and not a miss."""
    leads = Leads(["a", "b", "c"])
    leads.told("a", "s", 1, 10.0, frozenset({"a", "b"}))
    leads.told("a", "t", 2, 41.0, BOTH)
    assert {name: feed.missed for name, feed in leads.feeds.items()} == {"a": 0, "b": 1, "c": 0}


def test_another_landing_is_another_telling() -> None:
    """A transaction that comes again in another slot after a fork is told anew."""
    leads = Leads(["a", "b"])
    leads.told("a", "s", 1, 10.0, BOTH)
    leads.told("b", "s", 2, 10.5, BOTH)
    assert [feed.first for feed in leads.feeds.values()] == [1, 1]


def test_one_feed_is_compared_with_nobody_and_fetches_do_not_race() -> None:
    """Nothing is remembered then."""
    alone = Leads(["a"])
    assert not alone.compares
    alone.told("a", "s", 1, 10.0, frozenset({"a"}))
    assert alone.feeds["a"].first == 0
    leads = Leads(["a", "b"])
    leads.told("history", "s", 1, 10.0, BOTH)
    assert sum(feed.first for feed in leads.feeds.values()) == 0


def test_what_went_by_disk_is_told_and_not_timed() -> None:
    """When it was told nobody knows: no feed is first or behind by it, and none has missed it that did tell it."""
    leads = Leads(["a", "b"])
    leads.told("a", "read back first", 1, None, BOTH)
    leads.told("b", "read back first", 1, 10.0, BOTH)
    leads.told("a", "read back later", 1, 10.0, BOTH)
    leads.told("b", "read back later", 1, None, BOTH)
    leads.told("a", "read back alone", 1, None, BOTH)
    leads.told("b", "much later", 2, 99.0, {"b"})
    assert [(feed.first, feed.later, feed.missed) for feed in leads.feeds.values()] == [(1, 0, 0), (1, 0, 0)]
