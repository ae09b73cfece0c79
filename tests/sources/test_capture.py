"""Recorded feeds: what was said then is said again."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.errors import BadInput
from monitor.sources.capture import Capture, Replayer
from monitor.sources.endpoint import Endpoint
from monitor.sources.jobs import FetchTransaction
from monitor.sources.live import logs_source
from monitor.sources.notices import EndOfInput, FeedDown, FeedUp, SlotSeen
from monitor.sources.recorder import Recorder
from monitor.sources.replay import CaptureSource
from monitor.sources.transactions import transactions_source
from tests.sources import said
from tests.sources.node import following, node, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.sources.notices import Notice

PROGRAMS = frozenset({said.PROGRAM})
FRAMES = [said.logs(1, 9, 5), said.slot(40, 6), said.logs(1, 9, 7), said.logs(2, 9, 5)]


def record(path: Path, *, is_compressed: bool = True) -> Recorder:
    """Open a recorder."""
    return Recorder(
        path, feed="logs", endpoint=Endpoint("wss://h/SECRET"), programs=PROGRAMS, is_compressed=is_compressed
    )


def recorded(path: Path, *, is_compressed: bool = True) -> bytes:
    """Record a short life of a feed; return the file."""
    with record(path, is_compressed=is_compressed) as recorder:
        recorder.connected({})
        for frame in FRAMES:
            recorder.frame(frame)
        recorder.frame(b"garbage\n\xff")
        recorder.answer(FetchTransaction(said.signature(1), 9), said.result(said.transaction(1, 9)))
        recorder.lost("gone")
    return path.read_bytes()


def expected() -> list[tuple[str, Any]]:
    """Return what that life says, in short."""
    return [
        ("logs", said.signature(1)),
        ("FeedUp", 40),
        ("SlotSeen", 40),
        ("logs", said.signature(2)),
        ("fetch", said.signature(1)),
        ("FeedDown", "gone"),
        ("EndOfInput", None),
    ]


def iter_notices(stream: io.BytesIO, programs: frozenset[str]) -> Iterator[Notice]:
    """Yield every notice of a capture, the feed's own ups and downs included."""
    capture = Capture(stream)
    replayer = Replayer(capture.header, programs)
    for line in capture:
        yield from replayer.notices(line)
    yield EndOfInput(capture.header.feed)


def short(notice: Notice) -> tuple[str, Any]:
    """Return a notice in short."""
    match notice:
        case TxNotice(feed=feed, signature=signature):
            return feed, signature
        case FeedUp(subscribed_at_slot=slot) | SlotSeen(slot=slot):
            return type(notice).__name__, slot
        case FeedDown(reason=reason):
            return "FeedDown", reason
    return type(notice).__name__, None


@pytest.mark.parametrize("is_compressed", [True, False])
def test_round_trip(tmp_path: Path, is_compressed: bool) -> None:  # a parametrised flag
    """Compressed or plain, a capture gives the notices that its feed gave; repeats and garbage stay what they were."""
    text = recorded(tmp_path / "c", is_compressed=is_compressed)
    assert text.startswith(b"\x1f\x8b") == is_compressed
    assert [short(notice) for notice in iter_notices(io.BytesIO(text), PROGRAMS)] == expected()
    for cut in (text, text[:-1], text[: len(text) // 2]):
        capture = Capture(io.BytesIO(cut))
        assert len([*capture]) <= len(expected()) + 3
        assert capture.is_torn == (cut != text)


def test_a_line_is_what_the_node_said(tmp_path: Path) -> None:
    """A capture is a bug report: the node's words stand in it unchanged, the endpoint without its secret."""
    lines = recorded(tmp_path / "c", is_compressed=False).splitlines()
    header = json.loads(lines[0])
    assert (header["launch_monitor_capture"], header["feed"], header["endpoint"]) == (1, "logs", "wss://h/…")
    assert header["programs"] == [said.PROGRAM]
    assert b"SECRET" not in b"".join(lines)
    assert FRAMES[0] in lines[2]
    assert json.loads(lines[6])["text"] == "garbage\n\ufffd"
    offsets = [json.loads(line)["ns"] for line in lines[1:]]
    assert offsets == sorted(offsets)


def test_json_over_several_lines_is_one_line(tmp_path: Path) -> None:
    """A node that prints its JSON prettily is recorded all the same."""
    with record(tmp_path / "c") as recorder:
        recorder.frame(json.dumps(json.loads(FRAMES[0]), indent=1).encode())
    assert len([*iter_notices(io.BytesIO((tmp_path / "c").read_bytes()), PROGRAMS)]) == 2


def test_a_crash_leaves_what_was_flushed(tmp_path: Path) -> None:
    """A file that was not finished is read as far as it goes."""
    recorder = record(tmp_path / "c")
    for frame in FRAMES:
        recorder.frame(frame)
    recorder.flush()
    text = (tmp_path / "c").read_bytes()
    recorder.close()
    recorder.close()
    assert [short(notice)[0] for notice in iter_notices(io.BytesIO(text), PROGRAMS)] == [
        "logs",
        "SlotSeen",
        "logs",
        "EndOfInput",
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return a capture, compressed and plain."""
    folder = tmp_path_factory.mktemp("captures")
    return [recorded(folder / "c", is_compressed=is_compressed) for is_compressed in (True, False)]


@given(data=st.data())
def test_torn_and_spoilt_files(files: list[bytes], data: st.DataObject) -> None:
    """Cut off anywhere or overwritten anywhere, a capture is read as far as it can be, or is no capture."""
    text = bytearray(data.draw(st.sampled_from(files)))
    if data.draw(st.booleans()):
        del text[data.draw(st.integers(0, len(text))) :]
    else:
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + 1] = data.draw(st.binary(max_size=3))
    try:
        notices = [short(notice) for notice in iter_notices(io.BytesIO(bytes(text)), PROGRAMS)]
    except BadInput:
        return
    assert notices[-1] == ("EndOfInput", None)


def test_captures_put_together(tmp_path: Path) -> None:
    """Gzip files put one after another are one: the second header is a line that says nothing."""
    text = recorded(tmp_path / "c")
    capture = Capture(io.BytesIO(text + text))
    assert len([*capture]) == 16
    assert capture.malformed == 1
    assert capture.read_bytes == 2 * len(text)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"\x1f\x8b", gzip.compress(b"x\n", mtime=0), b'{"launch_monitor_capture":2,"feed":"f"}']
)
def test_no_capture(text: bytes) -> None:
    """Other files are refused."""
    with pytest.raises(BadInput, match="capture"):
        Capture(io.BytesIO(text))


def test_a_newer_format() -> None:
    """A capture of a later format is refused rather than misread."""
    header = b'{"launch_monitor_capture":2,"feed":"f","recorded_at":"x","endpoint":"y"}\n'
    with pytest.raises(BadInput, match="format 2, newer"):
        Capture(io.BytesIO(header))


async def replayed(source: CaptureSource) -> list[Notice]:
    """Run a replay to its end."""
    out: Channel[Notice] = Channel(100_000, "out")
    async with asyncio.timeout(5):
        await source.run(out)
    return out.get_nowait_all(100_000)


async def test_flat_out(tmp_path: Path) -> None:
    """As a source it puts out the same, tells its progress, and counts."""
    text = recorded(tmp_path / "c")
    told: list[tuple[int, int]] = []
    source = CaptureSource(tmp_path / "c", PROGRAMS, progress=lambda read, total: told.append((read, total)))
    assert [short(notice) for notice in await replayed(source)] == expected()
    assert told[-1] == (len(text), len(text))
    assert (source.name, source.tally.frames, source.tally.repeats, source.tally.malformed) == ("logs", 5, 1, 1)


async def test_at_a_pace(tmp_path: Path) -> None:
    """Notices come when they came, or so many times faster."""
    frame = json.dumps({"ns": 400_000_000, "frame": json.loads(FRAMES[0])}).encode()
    header = recorded(tmp_path / "c", is_compressed=False).splitlines()[0]
    (tmp_path / "c").write_bytes(header + b"\n" + frame + b"\n")
    loop = asyncio.get_running_loop()
    for speed, least_s, most_s in ((4.0, 0.1, 0.3), (1000.0, 0.0, 0.09)):
        began_at = loop.time()
        assert len(await replayed(CaptureSource(tmp_path / "c", PROGRAMS, speed=speed))) == 2
        assert least_s <= loop.time() - began_at < most_s


async def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is bad input, by name."""
    with pytest.raises(BadInput, match="nowhere: No such file"):
        await replayed(CaptureSource(tmp_path / "nowhere", PROGRAMS))


async def test_a_replayed_life_equals_the_live_one(tmp_path: Path) -> None:
    """A feed that was recorded while it lived, losses and all, gives exactly the notices that it gave then."""
    live: list[Notice] = []
    with record(tmp_path / "c") as recorder:
        async with node() as server, running(logs_source(following(server.url), tap=recorder)) as source:
            for life in range(3):
                peer = await server.peer()
                ids = await peer.acknowledge(3)
                await peer.send(
                    said.logs(life, 40 + life, ids[said.PROGRAM]),
                    said.logs(life, 40 + life, ids[said.OTHER_PROGRAM]),
                    "garbage",
                    said.slot(50 + life, ids["slotSubscribe"]),
                )
                await peer.connection.close()
                live += [await source.get() for _ in range(5)]
    again = await replayed(CaptureSource(tmp_path / "c", PROGRAMS))
    assert again == [*live, EndOfInput("logs")]
    assert [short(notice)[0] for notice in live] == ["logs", "logs", "FeedUp", "SlotSeen", "FeedDown"] * 3


async def test_a_finalized_feed_claims_as_it_did_then(tmp_path: Path) -> None:
    """What a root says depends on the commitment, so that stands in the header."""
    endpoint = Endpoint("wss://h")
    with Recorder(tmp_path / "c", feed="f", endpoint=endpoint, programs=PROGRAMS, commitment="finalized") as recorder:
        recorder.connected({1: said.PROGRAM, 2: "slots"})
        recorder.frame(said.slot(41, 2, root=41))
        recorder.frame(said.slot(140, 2, root=100))
    told = await replayed(CaptureSource(tmp_path / "c", PROGRAMS))
    claims = [notice.complete_through for notice in told if isinstance(notice, SlotSeen)]
    assert claims == [0, 68]


async def test_a_replayed_feed_of_transactions_equals_the_live_one(tmp_path: Path) -> None:
    """Whole transactions are told again as they were told, and so are frames that could not be read."""
    live: list[Notice] = []
    with record(tmp_path / "c") as recorder:
        async with (
            node() as server,
            running(transactions_source(following(server.url), name="logs", tap=recorder)) as source,
        ):
            for life in range(2):
                peer = await server.peer()
                ids = await peer.acknowledge(2)
                whole, slots = ids["transactionSubscribe"], ids["slotSubscribe"]
                await peer.send(
                    said.slot(50 + life, slots),
                    said.whole(said.entry(life), 50, whole, number=life),
                    said.whole(said.entry(life), 50, whole, number=life),
                    "garbage",
                    said.whole({"x": 1}, 50, whole, number=9),
                    said.slot(52 + life, slots),
                )
                await peer.connection.close()
                live += [await source.get() for _ in range(7 - life)]
    assert await replayed(CaptureSource(tmp_path / "c", PROGRAMS)) == [*live, EndOfInput("logs")]
    names = ["FeedUp", "SlotSeen", "logs", "FrameLost", "FrameLost", "SlotSeen", "FeedDown"]
    assert [short(notice)[0] for notice in live[:7]] == names
