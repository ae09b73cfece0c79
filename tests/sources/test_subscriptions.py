"""Which notification belongs to which subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from monitor.sources import rpc
from monitor.sources.subscriptions import Acknowledged, Early, Refused, Stray, Subscriptions, Told
from tests.sources import said

if TYPE_CHECKING:
    from monitor.sources.subscriptions import Event

WANTED = {"a": rpc.logs_subscribe("A", "confirmed"), "slots": rpc.slot_subscribe()}


def take(subscriptions: Subscriptions, text: bytes) -> Event:
    """Give a frame's text to the subscriptions."""
    return subscriptions.take(rpc.read_message(text))


def test_acknowledgements_in_any_order() -> None:
    """Subscriptions are numbered as wanted, and acknowledged in the node's order."""
    subscriptions = Subscriptions(WANTED)
    assert [(n, label, request.method) for n, (label, request) in subscriptions.requests.items()] == [
        (1, "a", "logsSubscribe"),
        (2, "slots", "slotSubscribe"),
    ]
    assert subscriptions.waiting == ["a", "slots"]
    assert take(subscriptions, said.result(77, 2)) == Acknowledged("slots", complete=False)
    assert take(subscriptions, said.result(55, 1)) == Acknowledged("a", complete=True)
    told = take(subscriptions, said.logs(1, 9, 55))
    assert isinstance(told, Told)
    assert told.label == "a"


def test_notifications_before_the_acknowledgement() -> None:
    """While any acknowledgement is missing an unknown subscription may become ours; afterwards it cannot."""
    subscriptions = Subscriptions(WANTED)
    assert isinstance(take(subscriptions, said.logs(1, 9, 55)), Early)
    take(subscriptions, said.result(55, 1))
    assert isinstance(take(subscriptions, said.logs(1, 9, 55)), Told)
    assert isinstance(take(subscriptions, said.slot(9, 77)), Early)
    take(subscriptions, said.result(77, 2))
    assert isinstance(take(subscriptions, said.logs(1, 9, 56)), Stray)


def test_refusals_and_strays() -> None:
    """Errors, answers that are no id, and answers to nobody are told apart."""
    subscriptions = Subscriptions(WANTED)
    refused = take(subscriptions, said.error(-32601, "Method not found", 1))
    assert refused == Refused("a", "logsSubscribe", rpc.RpcError(-32601, "Method not found"))
    assert isinstance(take(subscriptions, said.result("x", 2)), Refused)
    for unasked in (said.result(5, 1), said.result(5, None), said.result(5, "1"), said.error(1, "x", 99)):
        assert isinstance(take(subscriptions, unasked), Stray)
    assert isinstance(take(subscriptions, b"garbage"), rpc.Malformed)


@given(st.lists(st.tuples(st.sampled_from(["ack", "logs", "slot"]), st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_equals_the_naive_model(steps: list[tuple[str, int, int]]) -> None:
    """Whatever the order, a notification is told exactly when its subscription was acknowledged."""
    subscriptions, labels, waiting = Subscriptions(WANTED), {}, {1: "a", 2: "slots"}
    for step, number, subscription in steps:
        if step == "ack":
            event = take(subscriptions, said.result(subscription, number))
            if number in waiting:
                labels[subscription] = waiting.pop(number)
                assert event == Acknowledged(labels[subscription], complete=not waiting)
            else:
                assert isinstance(event, Stray)
            continue
        event = take(subscriptions, said.logs(1, 9, subscription) if step == "logs" else said.slot(40, subscription))
        if subscription in labels:
            assert isinstance(event, Told)
            assert event.label == labels[subscription]
        else:
            assert isinstance(event, Early if waiting else Stray)
