"""Keep account of what a connection asked for, what was acknowledged, and whose notification it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from monitor.sources import rpc

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Told:
    """A notification of one of our subscriptions; `label` is what the subscriber called it."""

    label: str
    message: rpc.Notification


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A subscription stands; `complete` if it was the last one to wait for."""

    label: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The node will not give us a subscription."""

    label: str
    method: str
    error: rpc.RpcError


@dataclass(frozen=True, slots=True)
class Early:
    """A notification of nobody yet, while acknowledgements are missing: show it again when they are here."""

    message: rpc.Notification


@dataclass(frozen=True, slots=True)
class Stray:
    """A notification of no subscription of ours, or an answer to no request of ours."""

    reason: str


Event: TypeAlias = Told | Acknowledged | Refused | Early | Stray | rpc.Malformed


class Subscriptions:
    """
    Subscriptions of one connection, from request to notification.

    Requests are numbered from 1 in the order of `wanted`. Subscription ids are the node's, unique on the connection.
    """

    def __init__(self, wanted: Mapping[str, rpc.Request]) -> None:
        self.requests = dict(enumerate(wanted.items(), 1))
        self._waiting = dict(self.requests)
        self._labels: dict[int, str] = {}

    @property
    def waiting(self) -> list[str]:
        """Labels of subscriptions that are not acknowledged yet."""
        return [label for label, _ in self._waiting.values()]

    @property
    def labels(self) -> Mapping[int, str]:
        """Labels of the subscriptions that stand, by the node's numbers."""
        return self._labels

    def take(self, message: rpc.Message) -> Event:
        """Say what a message means."""
        match message:
            case rpc.Malformed():
                return message
            case rpc.Response():
                return self._answer(message)
            case _:
                return self._notification(message)

    def _notification(self, message: rpc.Notification) -> Event:
        label = self._labels.get(message.params.subscription)
        if label is not None:
            return Told(label, message)
        if self._waiting:
            return Early(message)
        return Stray(f"notification of subscription {message.params.subscription}")

    def _answer(self, response: rpc.Response) -> Event:
        waiting = self._waiting.pop(response.id, None) if isinstance(response.id, int) else None
        if waiting is None:
            return Stray(f"answer to request {response.id}")
        label, request = waiting
        if response.error is not None:
            return Refused(label, request.method, response.error)
        try:
            self._labels[msgspec.json.decode(response.result, type=int)] = label
        except msgspec.MsgspecError as error:
            return Refused(label, request.method, rpc.RpcError(0, f"no subscription id: {error}"))
        return Acknowledged(label, complete=not self._waiting)
