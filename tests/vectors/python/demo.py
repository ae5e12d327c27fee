"""Uses the client library for all that it can do, against the side of the vectors.

It calls each method of proto/tests/vectors.proto, as the side that connects and as the side that accepts, and sends
what is too large for the settings of that side between two sides of this library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import serve as side
import service
from calls import Method, ServedCall
from codec import Limits
from connection import Config, Connection, connect, serve
from service import decode_text, encode_text
from status import Code, Status
from tester import started

# Every step of the demo ends within this time.
STEP_SECONDS = 20.0
LARGE_BYTES = 200_000


class Failure(Exception):
    """Something came out in another way than it must."""


def expect(got: object, expected: object) -> None:
    if got != expected:
        raise Failure(f"expected {str(expected)[:200]}, got {str(got)[:200]}")


class Notes:
    """The one-way calls that the other side makes, as they come."""

    def __init__(self):
        self.texts: asyncio.Queue[str] = asyncio.Queue()

    async def take(self, call: ServedCall) -> None:
        self.texts.put_nowait(decode_text(call.request))

    def methods(self) -> list[Method]:
        """The service of the vectors, with a Note that does not call back."""
        note = replace(service.NOTE, handler=self.take)
        return [note if method is service.NOTE else method for method in service.METHODS]


async def status_of(awaitable) -> Status:
    try:
        result = await awaitable
    except Status as status:
        return status
    raise Failure(f"expected a failure, got {result!r}")


class Demo:
    """The steps, each on the same connection. Their names say what they show."""

    def __init__(self, connection: Connection, notes: Notes):
        self.connection = connection
        self.notes = notes

    async def _text(self, method: Method, text: str, **options) -> str:
        return decode_text(await self.connection.unary(method, encode_text(text), **options))

    async def step_a_unary_call_with_metadata_and_a_timeout(self) -> None:
        metadata = [("tenant", b"42"), ("trace-bin", b"\x00\xff")]
        expect(await self._text(service.ECHO, "hi", metadata=metadata, timeout=5.0), "hi")

    async def step_a_stream_of_replies(self) -> None:
        call = self.connection.start_with(service.REPEAT, encode_text("hi"))
        expect([decode_text(reply) async for reply in call], ["hi"] * 3)

    async def step_a_stream_of_requests(self) -> None:
        call = self.connection.start(service.COUNT)
        for text in ("a", "bc", "def"):
            await call.send(encode_text(text))
        call.finish()
        expect(decode_text(await call.reply()), "3 6")

    async def step_a_stream_each_way(self) -> None:
        call = self.connection.start(service.TALK)
        for text in ("a", "b", "c"):
            await call.send(encode_text(text))
            expect(decode_text(await call.receive()), text)
        call.finish()
        expect(await call.receive(), None)

    async def step_one_way_calls_both_ways(self) -> None:
        await self.connection.one_way(service.NOTE, encode_text("note"))
        expect(await self.notes.texts.get(), "note")

    async def step_one_way_calls_in_chunks(self) -> None:
        text = "n" * 40_000
        await self.connection.one_way(service.NOTE, encode_text(text))
        expect(await self.notes.texts.get(), text)

    async def step_many_one_way_calls(self) -> None:
        """More than the credit of all calls has room for at once."""
        for index in range(20):
            await self.connection.one_way(service.NOTE, encode_text(f"{index} {'n' * 10_000}"))
        for index in range(20):
            expect((await self.notes.texts.get()).split()[0], str(index))

    async def step_a_call_that_fails(self) -> None:
        status = await status_of(self._text(service.FAIL, "no"))
        expect((status.code, status.text), (Code.FAILED_PRECONDITION, "no"))

    async def step_a_text_that_is_cut(self) -> None:
        status = await status_of(self._text(service.FAIL, "ä" * 5_000))
        expect(len(status.text.encode()) <= 4_096, True)

    async def step_a_method_that_is_not_there(self) -> None:
        status = await status_of(self._text(Method(service.SERVICE, 99), "hi"))
        expect((status.code, status.refused), (Code.UNIMPLEMENTED, True))

    async def step_calls_that_call_back(self) -> None:
        expect(await self._text(service.CALL, "Echo hi"), "ok hi")
        expect(await self._text(service.CALL, "Repeat hi"), "ok hi hi hi")
        expect(await self._text(service.CALL, "Count a bc"), "ok 2 3")
        expect(await self._text(service.CALL, "Talk a b"), "ok a b")
        expect(await self._text(service.CALL, "Note n"), "ok")
        expect(await self.notes.texts.get(), "n")

    async def step_a_deadline(self) -> None:
        status = await status_of(self._text(service.WAIT, "", timeout=0.1))
        expect(status.code, Code.DEADLINE_EXCEEDED)

    async def step_a_cancel(self) -> None:
        for method in (service.WAIT, service.HOLD):
            call = self.connection.start(method)
            await call.send(encode_text("x"))
            call.cancel()
            expect((await status_of(call.wait())).code, Code.CANCELLED)

    async def step_a_task_that_is_cancelled_cancels_its_call(self) -> None:
        task = asyncio.create_task(self._text(service.WAIT, ""))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._wait_for_no_calls()

    async def _wait_for_no_calls(self) -> None:
        """The ends of cancelled calls come; a call behind them shows when."""
        expect(await self._text(service.ECHO, "hi"), "hi")
        expect(len(self.connection.made), 0)

    async def step_a_hundred_calls_at_once(self) -> None:
        """More than `max_calls` of the other side, so some wait for a slot."""
        texts = [f"call {index}" for index in range(100)]
        expect(await asyncio.gather(*(self._text(service.ECHO, text) for text in texts)), texts)

    async def step_large_messages_each_way(self) -> None:
        """200,000 bytes in all, in messages of many chunks; far more than the initial credit."""
        texts = [letter * (LARGE_BYTES // 4) for letter in "abcd"]
        call = self.connection.start(service.TALK)
        sender = asyncio.create_task(self._send_all(call, texts))
        expect([decode_text(reply) async for reply in call], texts)
        await sender

    async def _send_all(self, call, texts: list[str]) -> None:
        for text in texts:
            await call.send(encode_text(text))
        call.finish()

    async def step_a_reply_that_is_read_late(self) -> None:
        """The other side sends no more than the credit, and goes on when the replies are read."""
        text = "x" * 60_000
        call = self.connection.start_with(service.REPEAT, encode_text(text))
        await asyncio.sleep(0.3)
        expect(len(call.incoming.queue) < 3, True)
        expect([decode_text(reply) async for reply in call], [text] * 3)

    async def step_a_message_above_the_limit(self) -> None:
        """It fails before it is sent, because the other side has announced what it takes."""
        status = await status_of(self._text(service.ECHO, "x" * LARGE_BYTES))
        expect(status.code, Code.RESOURCE_EXHAUSTED)

    async def step_silence(self) -> None:
        """The other side sends pings, and this side answers them."""
        await asyncio.sleep(2.5)
        expect(await self._text(service.ECHO, "hi"), "hi")

    async def step_the_other_side_drains(self) -> None:
        """Calls in flight go on, new ones are refused, and the connection ends behind the last one."""
        waiting = self.connection.start_with(service.WAIT, b"")
        expect(await self._text(service.DRAIN, ""), "draining")
        status = await status_of(self._text(service.ECHO, "late"))
        expect((status.code, status.refused), (Code.UNAVAILABLE, True))
        waiting.cancel()
        await self.connection.wait_ended(STEP_SECONDS)
        expect("code 0" in self.connection.reason, True)

    def steps(self) -> Iterator[tuple[str, object]]:
        for name, step in vars(type(self)).items():
            if name.startswith("step_"):
                yield name.removeprefix("step_").replace("_", " "), step.__get__(self)


async def _outcome(step) -> str | None:
    try:
        async with asyncio.timeout(STEP_SECONDS):
            await step()
    except (Failure, Status, TimeoutError, ConnectionError) as error:
        return repr(error)
    return None


# The name of each step, and what went wrong in it, if anything.
Outcomes = list[tuple[str, str | None]]


async def run_connecting(address: tuple[str, int]) -> Outcomes:
    """The live side accepts at the address."""
    notes = Notes()
    connection = await connect(*address, side.settings(), notes.methods())
    steps = [
        *Demo(connection, notes).steps(),
        ("this side drains", lambda: _drains(address)),
        ("this side closes", lambda: _closes(address)),
        ("a large message between two sides of this library", _large_between_own_sides),
    ]
    return [(name, await _outcome(step)) for name, step in steps]


async def run_accepting(command: list[str]) -> Outcomes:
    """The live side connects, as the command with the role and the address."""
    notes = Notes()
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    server = await serve("127.0.0.1", 0, side.settings(), notes.methods(), connections.put_nowait)
    try:
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with started([*command, "connect", address]):
            async with asyncio.timeout(STEP_SECONDS):
                connection = await connections.get()
                await connection.opened.wait()
            return [(name, await _outcome(step)) for name, step in Demo(connection, notes).steps()]
    finally:
        server.close()


async def _drains(address: tuple[str, int]) -> None:
    """Its own calls go on, and the call of the other side that one of them makes is refused."""
    connection = await connect(*address, side.settings(), service.METHODS)
    waiting = connection.start_with(service.WAIT, b"", timeout=0.3)
    connection.drain()
    reply = await connection.unary(service.CALL, encode_text("Echo hi"))
    expect(decode_text(reply), "failed 14 refused")
    expect((await status_of(waiting.reply())).code, Code.DEADLINE_EXCEEDED)
    await connection.wait_ended(STEP_SECONDS)


async def _closes(address: tuple[str, int]) -> None:
    connection = await connect(*address, side.settings(), service.METHODS)
    waiting = connection.start_with(service.WAIT, b"")
    connection.close()
    expect((await status_of(waiting.reply())).code, Code.UNAVAILABLE)
    await connection.wait_ended(STEP_SECONDS)


async def _large_between_own_sides() -> None:
    """200,000 bytes in one message: more than a packet and than the initial credit, but not than a message."""
    limits = Limits(max_message_bytes=2**20)
    server = await serve("127.0.0.1", 0, Config(limits), service.METHODS)
    try:
        connection = await connect(*server.sockets[0].getsockname(), Config(limits))
        text = "x" * LARGE_BYTES
        expect(decode_text(await connection.unary(service.ECHO, encode_text(text))), text)
        call = connection.start_with(service.REPEAT, encode_text(text))
        expect([decode_text(reply) async for reply in call], [text] * 3)
        connection.close()
        await connection.wait_ended(STEP_SECONDS)
    finally:
        server.close()
