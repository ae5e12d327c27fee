"""The calls of a connection: those that this side makes, and those that it serves."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from codec import Call, Cancel, CloseCode, End, Message, Metadata, Reply, Violation, encode_metadata
from flow import MESSAGE_COST, Incoming, Outgoing
from status import Code, Status

if TYPE_CHECKING:
    from connection import Connection

log = logging.getLogger("wawo")

DEPTH_KEY = "wawo-depth"
# A handler's calls carry these on.
TRACE_KEYS = ("traceparent", "tracestate", "baggage")

# The call that the code of the current task serves.
serving: contextvars.ContextVar[ServedCall | None] = contextvars.ContextVar("serving", default=None)


@dataclass
class Method:
    """What a side has to know of a method. The handler gets a `ServedCall`.

    With one reply the handler returns its bytes; with a stream it calls `ServedCall.send`; with `one_way` it returns
    nothing.
    """

    service: int
    id: int
    request_stream: bool = False
    reply_stream: bool = False
    one_way: bool = False
    handler: Callable[[ServedCall], Awaitable[bytes | None]] | None = None


class MadeCall:
    """A call that this side makes."""

    def __init__(self, connection: Connection, method: Method, metadata: Metadata, timeout: float | None):
        self.connection = connection
        self.method = method
        self.parent = serving.get()
        self.depth = self.parent.depth + 1 if self.parent else 0
        self.metadata = self._own_metadata(metadata)
        connection.check_metadata(self.metadata)
        self.deadline = self._deadline(timeout)
        self.slot: int | None = None
        self.number = 0
        self.in_flight = False
        self.over = False
        self.replied = False
        self.cancelled = False
        self.reply_metadata: Metadata = []
        self.end_metadata: Metadata = []
        self.incoming: Incoming = connection.incoming_replies()
        self.outgoing: Outgoing = connection.outgoing_requests(self)
        self.timer = None
        # Unlike the call at the other side, it is over for the application when its status is known.
        self.status: Status | None = None
        self.done = asyncio.Event()
        if self.parent:
            self.parent.children.add(self)

    def _own_metadata(self, metadata: Metadata) -> Metadata:
        self.connection.check_entries(metadata)
        entries = list(metadata)
        if self.parent:
            keys = {key for key, _ in entries}
            entries += [entry for entry in self.parent.metadata if entry[0] in TRACE_KEYS and entry[0] not in keys]
            entries.append((DEPTH_KEY, str(self.depth).encode()))
        return entries

    def _deadline(self, timeout: float | None) -> float | None:
        """The earliest of what the caller asks for, what it announced, and the end of the handler's call."""
        if timeout is None and not (self.method.request_stream or self.method.reply_stream):
            timeout = self.connection.config.default_timeout_ms / 1000
        deadline = time.monotonic() + timeout if timeout else None
        outer = self.parent.deadline if self.parent else None
        return min(filter(None, (deadline, outer)), default=None)

    def start_timer(self) -> None:
        if self.deadline is not None:
            # The time goes out in whole milliseconds, rounded up. Keeping the same time here makes the deadline
            # of a handler's call pass before those of the calls that it makes.
            self.timer = asyncio.get_running_loop().call_later(self._milliseconds_left() / 1000, self._expire)

    def _milliseconds_left(self) -> int:
        return max(1, ceil((self.deadline - time.monotonic()) * 1000))

    def _expire(self) -> None:
        self.cancel(Status(Code.DEADLINE_EXCEEDED))

    def open_packet(self, message: bytes | None, total: int | None, end: bool) -> Call:
        timeout_ms = self._milliseconds_left() if self.deadline is not None else None
        if timeout_ms is None and self.connection.config.default_timeout_ms:
            timeout_ms = 0
        method = self.method
        return Call(
            self.outgoing.call_id,
            method.service,
            method.id,
            message,
            end=end,
            one_way=method.one_way,
            timeout_ms=timeout_ms,
            metadata=self.metadata,
            total=total,
        )

    def open_bytes(self) -> int:
        """What a CALL takes before its message: two ids, a timeout, and metadata."""
        return 12 + len(encode_metadata(self.metadata))

    def end_packet(self) -> End:
        return End(self.outgoing.call_id)

    def one_way_cost(self) -> int:
        return len(self.outgoing.queue[0]) + MESSAGE_COST + len(encode_metadata(self.metadata))

    # ---- what the application does ----

    async def send(self, message: bytes) -> None:
        """Sends one more request. It waits while too many of them wait for credit."""
        self.connection.check_message(message)
        if self.status:
            raise self.status
        self.outgoing.put(message)
        self.connection.push(self.outgoing)
        while self.outgoing.is_full() and not self.done.is_set():
            self.outgoing.changed.clear()
            await self.outgoing.changed.wait()
        if self.status:
            raise self.status

    def finish(self) -> None:
        """There are no more requests."""
        self.outgoing.finish()
        self.connection.push(self.outgoing)

    async def receive(self) -> bytes | None:
        """The next reply, or None at the end of the replies."""
        message = await self.connection.receive(self.incoming)
        if message is None and self.status:
            raise self.status
        return message

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (message := await self.receive()) is not None:
                yield message
        finally:
            self.cancel()

    async def wait(self) -> None:
        """Waits for the end of the call, and raises its status if it failed."""
        try:
            await self.done.wait()
        finally:
            self.cancel()
        if self.status:
            raise self.status

    async def reply(self) -> bytes:
        """The reply of a method that has one."""
        await self.wait()
        return await self.receive()

    def cancel(self, status: Status | None = None) -> None:
        """Gives the call up. A call that has ended is left as it is."""
        if self.over or self.cancelled:
            return
        status = status or Status(Code.CANCELLED)
        if not self.in_flight:
            status.refused = True
            self.end(status)
        elif not self.method.one_way:
            self.cancelled = True
            self.outgoing.stop()
            self.incoming.discard()
            self.connection.send(Cancel(self.outgoing.call_id))
            self._settle(status)

    # ---- what the connection does ----

    def on_reply(self, packet: Reply) -> None:
        if self.method.one_way or self.replied:
            raise Violation("a second reply, or one to a one-way call")
        self.replied = True
        self.reply_metadata = packet.metadata
        if packet.message is not None:
            self._take(packet)

    def on_message(self, packet: Message) -> None:
        if not self.replied:
            raise Violation("a message before the reply")
        self._take(packet)

    def _take(self, packet: Reply | Message) -> None:
        fault = None
        if not self.incoming.take(packet):
            fault = Status(Code.RESOURCE_EXHAUSTED, "the reply is larger than max_message_bytes")
        elif self.incoming.begun > 1 and not self.method.reply_stream:
            fault = Status(Code.UNIMPLEMENTED, "there is more than one reply")
        if packet.end:
            self._end_well(fault)
        elif fault:
            self.cancel(fault)

    def on_end(self, end: End) -> None:
        if self.method.one_way:
            raise Violation("an end of a one-way call")
        if end.refused and self.replied:
            raise Violation("REFUSED after a reply")
        if end.code == 0:
            self._take_end_metadata(end.metadata)
            self._end_well(None)
        else:
            self.end(Status.of(end))

    def _take_end_metadata(self, metadata: Metadata) -> None:
        """The metadata of a good end is that of the end of a stream, or is added to that of the one reply."""
        if self.method.reply_stream:
            self.end_metadata = metadata
        else:
            self.reply_metadata = self.reply_metadata + metadata

    def _end_well(self, fault: Status | None) -> None:
        """The callee ended the call with success, which may still be one that this side cannot use."""
        self.incoming.end()
        if self.incoming.begun == 0 and not self.method.reply_stream:
            fault = Status(Code.UNIMPLEMENTED, "there is no reply")
        self.end(fault)

    def on_credit(self, count: int) -> None:
        if self.method.one_way:
            raise Violation("credit for a one-way call")
        if not self.cancelled:
            self.connection.add_credit(self.outgoing, count)

    def end(self, status: Status | None) -> None:
        """The call is over, and its slot is free."""
        self.over = True
        self.connection.forget_made(self)
        self._settle(status)

    def _settle(self, status: Status | None) -> None:
        """The application gets the status, unless it has one already."""
        if self.done.is_set():
            return
        if self.timer:
            self.timer.cancel()
        if self.parent:
            self.parent.children.discard(self)
        self.status = status
        self.done.set()
        self.outgoing.stop()
        if status:
            self.incoming.fail(status)
        else:
            self.incoming.release()


class ServedCall:
    """A call of the other side, which a handler of this side serves."""

    def __init__(self, connection: Connection, packet: Call):
        self.connection = connection
        self.id = packet.call
        self.one_way = packet.one_way
        self.metadata = [entry for entry in packet.metadata if entry[0] != DEPTH_KEY]
        self.method = connection.methods.get((packet.service, packet.method))
        self.depth = 0
        self.over = False
        # Only a method with one request has it here.
        self.request = b""
        self.reply_metadata: Metadata = []
        self.end_metadata: Metadata = []
        self.children: set[MadeCall] = set()
        self.task: asyncio.Task | None = None
        self.incoming: Incoming = connection.incoming_requests(metered=not packet.one_way)
        self.outgoing: Outgoing = connection.outgoing_replies(self)
        self.outgoing.call_id = packet.call
        timeout_ms = connection.their_default_timeout_ms if packet.timeout_ms is None else packet.timeout_ms
        self.deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        self.timer = None
        if timeout_ms:
            self.timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self._expire)

    def begin(self, packet: Call) -> None:
        """What the CALL brings: its first message, and reasons not to serve it."""
        fits = packet.message is None or self.incoming.take(packet, self._cost(packet))
        if not fits and self.one_way:
            raise Violation("a one-way message above max_message_bytes", CloseCode.LIMIT)
        if packet.end:
            self.incoming.end()
        reason = self._reason_not_to_serve(packet)
        if reason is None and not fits:
            reason = Status(Code.RESOURCE_EXHAUSTED, "the request is larger than max_message_bytes")
        if reason:
            self._reject(reason)
        else:
            self._requests_changed()

    def _cost(self, packet: Call) -> int:
        """A one-way message pays as it begins; the first message of another call costs nothing."""
        if not packet.one_way:
            return 0
        length = len(packet.message) if packet.total is None else packet.total
        cost = length + MESSAGE_COST + packet.metadata_bytes
        self.incoming.shared.charge(cost)
        return cost

    def _reason_not_to_serve(self, packet: Call) -> Status | None:
        if self.method is None:
            return Status(Code.UNIMPLEMENTED, f"no method {packet.method} of service {packet.service}", refused=True)
        depth = next((value for key, value in packet.metadata if key == DEPTH_KEY), b"0")
        if not depth.isdigit():
            return Status(Code.INVALID_ARGUMENT, f"{DEPTH_KEY} is no number")
        # Python converts no number of thousands of digits; all long ones are too deep anyway.
        self.depth = int((depth.lstrip(b"0") or b"0")[:9])
        if self.depth > self.connection.config.max_call_depth:
            return Status(Code.RESOURCE_EXHAUSTED, f"a call of depth {self.depth}", refused=True)
        return None

    def _reject(self, reason: Status) -> None:
        """No handler sees the call. A one-way call has no status, but its chunks still come."""
        if not self.one_way:
            self.fail(reason)
            return
        self.method = None
        self.incoming.discard()
        self._requests_changed()

    # ---- what the connection does ----

    def on_message(self, packet: Message) -> None:
        if self.incoming.ended or (self.one_way and not packet.continues):
            raise Violation("a message after the end of the requests, or in a one-way call")
        fits = self.incoming.take(packet)
        if packet.end:
            self.incoming.end()
        if fits:
            self._requests_changed()
        else:
            self.fail(Status(Code.RESOURCE_EXHAUSTED, "the request is larger than max_message_bytes"))

    def on_end(self, end: End) -> None:
        if self.one_way or self.incoming.ended:
            raise Violation("an end of requests that have ended, or of a one-way call")
        self.incoming.end()
        self._requests_changed()

    def on_cancel(self) -> None:
        if self.one_way:
            raise Violation("a cancel of a one-way call")
        self.fail(Status(Code.CANCELLED))

    def on_credit(self, count: int) -> None:
        if self.one_way:
            raise Violation("credit for a one-way call")
        self.connection.add_credit(self.outgoing, count)

    def _requests_changed(self) -> None:
        """Begins to serve the call, as soon as its request has come and ended."""
        if self.one_way and self.incoming.total is None:
            # The message of a one-way call ends it, also without the flag, and its slot is free.
            self.incoming.end()
            self.connection.free_served_slot(self)
            if self.method is None:
                self.finish()
                return
        if self.task or self.method is None or (self.one_way and not self.incoming.ended):
            return
        if self.method.request_stream:
            self._serve()
        elif self.incoming.begun > 1 or (self.incoming.ended and self.incoming.begun == 0):
            self.fail(Status(Code.UNIMPLEMENTED, "the method has one request"))
        elif self.incoming.ended:
            self.request = self.incoming.pop()
            self._serve()

    def _serve(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        serving.set(self)
        try:
            reply = await self.method.handler(self)
            if self.one_way:
                self.finish()
            else:
                self._reply(reply)
        except Status as status:
            if self.one_way:
                log.warning("a one-way call failed: %s", status)
            self.fail(status)
        except asyncio.CancelledError:
            self.fail(Status(Code.CANCELLED))
        except Exception as error:
            log.exception("a handler failed")
            self.fail(Status(Code.INTERNAL, f"the handler failed: {error!r}"))

    def _reply(self, reply: bytes | None) -> None:
        """The handler has returned: the last message leaves, and the call ends behind it."""
        if self.over:
            return
        if not self.method.reply_stream:
            self._put(reply or b"")
        self.connection.check_entries(self.end_metadata)
        self.connection.check_metadata(self.end_metadata)
        self.outgoing.ends_apart = bool(self.end_metadata)
        self.outgoing.finish()
        self.connection.push(self.outgoing)

    def _put(self, message: bytes) -> None:
        self.connection.check_message(message)
        self.connection.check_entries(self.reply_metadata)
        self.connection.check_metadata(self.reply_metadata)
        self.outgoing.put(message)

    def open_bytes(self) -> int:
        return len(encode_metadata(self.reply_metadata))

    def open_packet(self, message: bytes | None, total: int | None, end: bool) -> Reply:
        return Reply(self.id, message, end=end, metadata=self.reply_metadata, total=total)

    def end_packet(self) -> End:
        return End(self.id, metadata=self.end_metadata)

    def _expire(self) -> None:
        self.fail(Status(Code.DEADLINE_EXCEEDED))

    def fail(self, status: Status) -> None:
        """Ends the call with this status, or a one-way call without one."""
        if self.over:
            return
        if not self.one_way:
            self.connection.send(status.packet(self.id, self.connection.theirs))
            self.finish()
        elif self.task:
            # The timeout of a one-way call ends the work on it, but not the sending of its chunks.
            self.finish()
        else:
            self.method = None
            self.incoming.discard()

    def finish(self) -> None:
        """The call is over: the last packet has left, or the handler of a one-way call has ended."""
        if self.over:
            return
        self.over = True
        if self.timer:
            self.timer.cancel()
        self.outgoing.stop()
        self.incoming.discard()
        if self.task and self.task is not asyncio.current_task():
            self.task.cancel()
        for child in list(self.children):
            child.cancel()
        self.connection.forget_served(self)

    # ---- what the handler does ----

    async def receive(self) -> bytes | None:
        """The next request of a stream, or None at its end."""
        return await self.connection.receive(self.incoming)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self.receive()) is not None:
            yield message

    async def send(self, message: bytes) -> None:
        """Sends one reply of a stream. It waits while too many of them wait for credit."""
        self._put(message)
        self.connection.push(self.outgoing)
        while self.outgoing.is_full():
            self.outgoing.changed.clear()
            await self.outgoing.changed.wait()
