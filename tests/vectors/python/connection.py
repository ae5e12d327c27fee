"""A connection of either role: it makes calls, and serves calls of the other side.

`Connection` is a protocol of asyncio. Packets are handled as they come, without waiting, so that reading never stops
because writing is blocked. What leaves waits in the calls until the transport has room, and calls take turns.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import codec
from calls import MadeCall, Method, ServedCall
from codec import (
    MAX_CREDIT,
    Call,
    Cancel,
    Close,
    CloseCode,
    Credit,
    Drain,
    End,
    Hello,
    Limits,
    Message,
    Metadata,
    Move,
    Packet,
    Ping,
    Pong,
    Reply,
    Unknown,
    Violation,
)
from flow import MESSAGE_COST, Incoming, Outgoing, SentCredit, SharedCredit
from status import MAX_CLOSE_TEXT, Code, Status, cut

# Output beyond this waits in its calls.
OUTPUT_BYTES = 262_144
# The other side must take so many bytes within `write_timeout`.
WRITE_PROGRESS = 4_096
# Credit below this is a packet without effect.
SMALL_CREDIT = 1_024
EARLY_PING_SECONDS = 0.5
# Keys of metadata that an application must not set.
RESERVED_PREFIX = "wawo-"
# The roles of a hello.
CONNECTS, ACCEPTS = 1, 2
# How long a side reads on after its CLOSE, so that the system does not drop the CLOSE.
LINGER_SECONDS = 1.0


@dataclass
class Config:
    """The settings of one side. Their names are those of docs/limits.md; times are in seconds."""

    limits: Limits = field(
        default_factory=lambda: Limits(131_072, 4_194_304, 8_192, 64, 1_024, 262_144, 8_388_608, 8_388_608)
    )
    default_timeout_ms: int = 0
    claimed_name: str = ""
    credentials: bytes = b""
    handshake_timeout: float = 5.0
    packet_timeout: float = 10.0
    write_timeout: float = 10.0
    keep_alive_interval: float = 20.0
    max_keep_alive_interval: float = 600.0
    keep_alive_timeout: float = 10.0
    stall_timeout: float = 30.0
    max_call_depth: int = 16
    max_small_chunks: int = 100
    max_early_pings: int = 3
    max_idle_packets: int = 1_000
    max_cancels_per_second: int = 1_000


class Connection(asyncio.Protocol):
    def __init__(self, config: Config, connecting: bool, methods: Iterable[Method] = ()):
        config.limits.check()
        self.config = config
        self.connecting = connecting
        self.methods = {(method.service, method.id): method for method in methods}
        self.theirs = Limits()
        self.their_default_timeout_ms = 0
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        # Why the connection ended.
        self.reason: str | None = None
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.closing = False
        self.paused = False
        # Whether the preface of this side was written.
        self.has_written = False

        # Reading.
        self.input = bytearray()
        self.preface_came = False
        self.head: codec.Head | None = None
        self.began = self.last_byte = self.packet_began = time.monotonic()

        # Keep-alive and abuse.
        self.keep_alive_interval = config.keep_alive_interval
        self.pings_sent: deque[bytes] = deque()
        self.ping_sent_at = 0.0
        self.last_ping = float("-inf")
        self.early_pings = 0
        self.idle_packets = 0
        self.cancels = 0
        self.cancels_since = 0.0

        # Writing. `taken` is how much of the output the other side had taken at `taken_at`.
        self.written = 0
        self.taken = 0
        self.taken_at = time.monotonic()
        # Directions that may have a packet to send, in their turns; all that have something to send.
        self.ready: dict[Outgoing, None] = {}
        self.sending: dict[Outgoing, MadeCall | ServedCall] = {}

        # Calls of this side. The index is the slot.
        self.made_slots: list[MadeCall | None] = []
        self.free_slots: list[int] = []
        self.made: set[MadeCall] = set()
        self.made_count = 0
        self.drained_by_them = False
        # Calls that wait for a slot, one-way calls for credit. Those of handlers never wait behind others.
        self.waiting: deque[MadeCall] = deque()
        self.waiting_nested: deque[MadeCall] = deque()
        self.waiting_one_way: deque[MadeCall] = deque()

        # Calls of the other side.
        self.served_slots: list[ServedCall | None] = []
        self.served: set[ServedCall] = set()
        self.accepted = 0
        self.draining = False
        self.drains_taken = 0

        # Credit of all calls: what this side has given, and what it has got.
        self.request_credit = SharedCredit(config.limits.request_credit_bytes)
        self.reply_credit = SharedCredit(config.limits.reply_credit_bytes)
        self.sent_requests = SentCredit(self.theirs.request_credit_bytes)
        self.sent_replies = SentCredit(self.theirs.reply_credit_bytes)

    # ---- the transport ----

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=OUTPUT_BYTES)
        # The hello of the accepting side is an answer to that of the other.
        if self.connecting:
            self._send_hello()
        self.watch = self.loop.create_task(self._watch())

    def _send_hello(self) -> None:
        config = self.config
        hello = Hello(config.limits, config.default_timeout_ms, config.claimed_name, config.credentials)
        hello.role = CONNECTS if self.connecting else ACCEPTS
        hello.keep_alive_ms = int(config.keep_alive_interval * 1_000)
        self._write_preface()
        self.send(hello)
        if self.draining:
            self.send(Drain(self.accepted))

    def _write_preface(self) -> None:
        self.has_written = True
        self._write(codec.PREFACE)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection was lost: {error or 'it ended without a CLOSE'}")
        self.watch.cancel()
        self.ended.set()
        self.opened.set()

    def eof_received(self) -> bool:
        self._end("the connection was lost: it ended without a CLOSE")
        self.transport.abort()
        return False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._progress()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self.last_byte = time.monotonic()
        if not self.input:
            self.packet_began = self.last_byte
        self.input += data
        try:
            self._read_preface()
            while not self.closing and self.preface_came and (packet := self._read_packet()):
                self._handle(packet)
        except Violation as violation:
            self.close(violation.code, violation.text)
        except Exception:
            self.close(CloseCode.INTERNAL, "a fault of this side")
            raise
        self._progress()

    def _read_preface(self) -> None:
        if self.preface_came:
            return
        begin = bytes(self.input[: len(codec.PREFACE)])
        if not codec.PREFACE.startswith(begin):
            version = begin.startswith(b"WAWO/")
            raise Violation("another preface", CloseCode.VERSION if version else CloseCode.VIOLATION)
        if begin == codec.PREFACE:
            self._consume(len(begin))
            self.preface_came = True

    def _consume(self, count: int) -> bytes:
        data = bytes(self.input[:count])
        del self.input[:count]
        self.packet_began = self.last_byte
        return data

    def _read_packet(self) -> Packet | None:
        limits = self.config.limits
        if self.head is None:
            if len(self.input) < codec.HEAD_BYTES:
                return None
            head_bytes = bytes(self.input[: codec.HEAD_BYTES])
            self.head = codec.decode_head(head_bytes, limits, first=not self.opened.is_set())
            self._check_order(self.head.kind)
        end = codec.HEAD_BYTES + self.head.length
        if len(self.input) < end:
            return None
        head, self.head = self.head, None
        return codec.decode(head, self._consume(end)[codec.HEAD_BYTES :], limits)

    def _check_order(self, kind: codec.Kind | None) -> None:
        """A HELLO comes first, and once. A CLOSE may come in its place."""
        if kind != codec.Kind.CLOSE and (kind == codec.Kind.HELLO) == self.opened.is_set():
            raise Violation("a second hello, or another packet before it")

    def _write(self, data: bytes) -> None:
        self.written += len(data)
        self.transport.write(data)

    def send(self, packet: Packet) -> None:
        """Sends a packet that needs no credit, ahead of those that wait for it."""
        if not self.closing:
            self._write(codec.encode(packet))

    # ---- packets ----

    def _handle(self, packet: Packet) -> None:
        match packet:
            case Hello():
                self._on_hello(packet)
            case Ping():
                self._on_ping(packet)
            case Pong():
                if not self.pings_sent or self.pings_sent.popleft() != packet.data:
                    raise Violation("a pong that answers no ping")
            case Drain():
                self._on_drain(packet.accepted)
            case Move() | Unknown():
                # Where to connect is up to the program that holds the connection.
                self._without_effect()
            case Close():
                self._end(f"the other side closed the connection with code {packet.code}: {packet.text}")
                self.transport.abort()
            case Credit(call=0):
                self._on_credit_of_all(packet)
            case Call():
                self._on_call(packet)
            case _ if self._is_own(packet.call):
                self._on_packet_of_made(packet)
            case _:
                self._on_packet_of_served(packet)

    def _on_hello(self, hello: Hello) -> None:
        if hello.role == (CONNECTS if self.connecting else ACCEPTS):
            raise Violation("both sides have connected" if self.connecting else "both sides have accepted")
        if not self.connecting:
            self._send_hello()
        asked = min(hello.keep_alive_ms / 1_000, self.config.max_keep_alive_interval)
        self.keep_alive_interval = max(self.config.keep_alive_interval, asked)
        # No call is sent before the hello, so only the sums of all calls have to grow.
        self.theirs = hello.limits
        self.their_default_timeout_ms = hello.default_timeout_ms
        self.sent_requests.left += hello.limits.request_credit_bytes - self.sent_requests.initial
        self.sent_requests.initial = hello.limits.request_credit_bytes
        self.sent_replies.left += hello.limits.reply_credit_bytes - self.sent_replies.initial
        self.sent_replies.initial = hello.limits.reply_credit_bytes
        self.opened.set()

    def _on_ping(self, ping: Ping) -> None:
        now = time.monotonic()
        self.early_pings = self.early_pings + 1 if now - self.last_ping < EARLY_PING_SECONDS else 0
        self.last_ping = now
        if self.early_pings > self.config.max_early_pings:
            raise Violation("too many early pings", CloseCode.LIMIT)
        self.send(Pong(ping.data))

    def _on_credit_of_all(self, credit: Credit) -> None:
        if credit.bytes < SMALL_CREDIT:
            self._without_effect()
        shared = self.sent_replies if credit.replies else self.sent_requests
        if shared.left + credit.bytes > MAX_CREDIT:
            raise Violation("credit of all calls above 2^31")
        shared.left += credit.bytes
        self.ready.update(dict.fromkeys(self.sending))

    def _on_drain(self, accepted: int) -> None:
        self.drains_taken += 1
        if self.drains_taken > 1:
            self._without_effect()
        self.drained_by_them = True
        refused = [call for call in self.made if call.number > accepted or not call.in_flight]
        for call in refused:
            call.end(Status(Code.UNAVAILABLE, "the other side drains", refused=True))

    def _on_call(self, packet: Call) -> None:
        slot = self._slot_of_call(packet.call)
        if self.draining:
            self._without_effect()
            self._ignore_call(packet)
            return
        self.idle_packets = 0
        self.accepted += 1
        call = ServedCall(self, packet)
        self.served.add(call)
        if slot is not None:
            self.served_slots[slot] = call
        call.begin(packet)

    def _slot_of_call(self, call: int) -> int | None:
        """Checks the id of a CALL, and takes its slot into use."""
        if call == 0:
            return None
        slot = (call - 1) // 2
        if self._is_own(call):
            raise Violation("a CALL with an id of the other side")
        if slot >= self.config.limits.max_calls:
            raise Violation("a CALL above max_calls", CloseCode.LIMIT)
        if slot > len(self.served_slots):
            raise Violation("a CALL that skips a slot")
        if slot == len(self.served_slots):
            self.served_slots.append(None)
        if self.served_slots[slot]:
            raise Violation("a CALL with an id whose call is in flight")
        return slot

    def _ignore_call(self, packet: Call) -> None:
        """A drainer answers nothing, but all rules hold for the call, and its message pays and is granted again."""
        incoming = self.incoming_requests(metered=not packet.one_way)
        incoming.discard()
        cost = 0
        if packet.one_way:
            length = len(packet.message) if packet.total is None else packet.total
            cost = length + MESSAGE_COST + packet.metadata_bytes
            incoming.shared.charge(cost)
        fits = packet.message is None or incoming.take(packet, cost)
        if packet.one_way and not fits:
            raise Violation("a one-way message above max_message_bytes", CloseCode.LIMIT)

    def _on_packet_of_made(self, packet: Packet) -> None:
        slot = (packet.call - 1) // 2
        call = self.made_slots[slot] if slot < len(self.made_slots) else None
        if call is None or isinstance(packet, Cancel):
            raise Violation(f"{type(packet).__name__} for a call of ours that is not in flight, or of the wrong role")
        match packet:
            case Reply():
                self.idle_packets = 0
                call.on_reply(packet)
            case Message():
                self.idle_packets = 0
                call.on_message(packet)
            case End():
                self.idle_packets = 0
                call.on_end(packet)
            case Credit():
                if packet.bytes < SMALL_CREDIT:
                    self._without_effect()
                call.on_credit(packet.bytes)

    def _on_packet_of_served(self, packet: Packet) -> None:
        slot = (packet.call - 1) // 2
        if slot >= len(self.served_slots) or isinstance(packet, Reply):
            raise Violation(f"{type(packet).__name__} for a slot that was never used, or of the wrong role")
        call = self.served_slots[slot]
        if call is None:
            self._late(packet)
            return
        match packet:
            case Message():
                self.idle_packets = 0
                call.on_message(packet)
            case End():
                if packet.code or packet.refused or packet.metadata or packet.text or packet.details:
                    raise Violation("an end of a caller with a status")
                self.idle_packets = 0
                call.on_end(packet)
            case Cancel():
                self._count_cancel()
                call.on_cancel()
            case Credit():
                if packet.bytes < SMALL_CREDIT:
                    self._without_effect()
                call.on_credit(packet.bytes)

    def _late(self, packet: Packet) -> None:
        """A packet that crossed the end of its call, or belongs to a call that a drainer ignores."""
        self._without_effect()
        if isinstance(packet, Message) and not packet.continues:
            length = len(packet.message) if packet.total is None else packet.total
            self.request_credit.charge(length + MESSAGE_COST)
            self.request_credit.give_back(length + MESSAGE_COST)

    def _without_effect(self) -> None:
        self.idle_packets += 1
        if self.idle_packets > self.config.max_idle_packets:
            raise Violation("too many packets without effect", CloseCode.LIMIT)

    def _count_cancel(self) -> None:
        now = time.monotonic()
        if now - self.cancels_since > 1.0:
            self.cancels_since, self.cancels = now, 0
        self.cancels += 1
        if self.cancels > self.config.max_cancels_per_second:
            raise Violation("too many cancels", CloseCode.LIMIT)

    def _is_own(self, call: int) -> bool:
        return (call % 2 == 1) == self.connecting

    # ---- what calls need ----

    def incoming_requests(self, metered: bool) -> Incoming:
        return Incoming(self.config.limits, self.config.max_small_chunks, self.request_credit, metered)

    def incoming_replies(self) -> Incoming:
        return Incoming(self.config.limits, self.config.max_small_chunks, self.reply_credit)

    def outgoing_requests(self, call: MadeCall) -> Outgoing:
        return Outgoing(self.theirs, self.sent_requests, call.open_packet, call.end_packet, call.open_bytes)

    def outgoing_replies(self, call: ServedCall) -> Outgoing:
        outgoing = Outgoing(self.theirs, self.sent_replies, call.open_packet, call.end_packet, call.open_bytes)
        self.sending[outgoing] = call
        return outgoing

    def check_message(self, message: bytes) -> None:
        if len(message) > self.theirs.max_message_bytes:
            text = f"a message of {len(message)} bytes; the other side takes {self.theirs.max_message_bytes}"
            raise Status(Code.RESOURCE_EXHAUSTED, text)

    def check_entries(self, metadata: Metadata) -> None:
        """What an application may set: no reserved keys, and only what the other side would not call a violation."""
        for key, value in metadata:
            if key.startswith(RESERVED_PREFIX):
                raise ValueError(f"the key {key!r} is reserved")
            try:
                codec.checked_key(key.encode())
                codec.checked_value(key.encode(), value)
            except Violation as violation:
                raise ValueError(violation.text) from None

    def check_metadata(self, metadata: Metadata) -> None:
        block = len(codec.encode_metadata(metadata))
        if block > self.theirs.max_metadata_bytes or len(metadata) > self.theirs.max_metadata_entries:
            text = f"metadata with {len(metadata)} entries and {block} bytes is more than the other side takes"
            raise Status(Code.RESOURCE_EXHAUSTED, text)

    def push(self, outgoing: Outgoing) -> None:
        """The direction may have something to send."""
        self.ready[outgoing] = None
        self._progress()

    def add_credit(self, outgoing: Outgoing, count: int) -> None:
        if outgoing.credit + count > MAX_CREDIT:
            raise Violation("credit above 2^31")
        outgoing.credit += count
        self.ready[outgoing] = None

    async def receive(self, incoming: Incoming) -> bytes | None:
        """The next message, or None when no more comes. Taking it gives its credit again."""
        while not incoming.queue and not incoming.ended:
            incoming.changed.clear()
            await incoming.changed.wait()
        if not incoming.queue:
            return None
        message = incoming.pop()
        self._progress()
        return message

    def forget_made(self, call: MadeCall) -> None:
        self.made.discard(call)
        self._forget_sending(call.outgoing)
        for waiting in (self.waiting, self.waiting_nested, self.waiting_one_way):
            if call in waiting:
                waiting.remove(call)
        if call.slot is not None:
            self.made_slots[call.slot] = None
            self.free_slots.append(call.slot)
            call.slot = None

    def free_served_slot(self, call: ServedCall) -> None:
        """Frees the slot of a call, once: for a one-way call in chunks, before its handler has ended."""
        if call.id:
            self.served_slots[(call.id - 1) // 2] = None
            call.id = 0

    def forget_served(self, call: ServedCall) -> None:
        self.served.discard(call)
        self._forget_sending(call.outgoing)
        self.free_served_slot(call)
        # A handler that ends has no packet behind it that would do this.
        self.loop.call_soon(self._progress)

    def _forget_sending(self, outgoing: Outgoing) -> None:
        self.ready.pop(outgoing, None)
        self.sending.pop(outgoing, None)

    # ---- sending ----

    def _progress(self) -> None:
        """Sends what can be sent now: credit first, then new calls, then messages in turns."""
        if self.closing or self.paused or not self.opened.is_set():
            return
        self._grant()
        self._start_waiting()
        while self.ready and not self.paused and not self.closing:
            self._take_turn(next(iter(self.ready)))
        self._end_drain()

    def _take_turn(self, outgoing: Outgoing) -> None:
        call = self.sending.get(outgoing)
        del self.ready[outgoing]
        packet = outgoing.next() if call else None
        if packet is None:
            return
        # When credit of all calls comes, those that have had the last turn have to stand behind the others.
        self.sending[outgoing] = self.sending.pop(outgoing)
        self.send(packet)
        if outgoing.ended and isinstance(call, ServedCall):
            call.finish()
        elif outgoing.ended and call.method.one_way:
            call.end(None)
        else:
            self.ready[outgoing] = None

    def _grant(self) -> None:
        for replies, shared in ((False, self.request_credit), (True, self.reply_credit)):
            if granted := shared.grant():
                self.send(Credit(0, granted, replies))
        for call in [*self.made, *self.served]:
            call_id = call.outgoing.call_id
            if call_id and not call.over and (granted := call.incoming.grant()):
                self.send(Credit(call_id, granted))

    def _start_waiting(self) -> None:
        slots = self.theirs.max_calls
        self._start_calls(self.waiting_nested, slots)
        # The last slots are for calls of handlers, which calls in flight may wait for.
        self._start_calls(self.waiting, slots - slots // 16)
        while self.waiting_one_way and not self.paused and self.sent_requests.may_begin_one_way():
            call = self.waiting_one_way[0]
            whole = call.outgoing.fits_packet()
            if not whole and self._used_slots() >= slots:
                return
            self.waiting_one_way.popleft()
            self._start_one_way(call, whole)

    def _used_slots(self) -> int:
        return len(self.made_slots) - len(self.free_slots)

    def _start_calls(self, waiting: deque[MadeCall], slots: int) -> None:
        while waiting and not self.paused and self._used_slots() < slots:
            self._start(waiting.popleft(), with_id=True)

    def _start_one_way(self, call: MadeCall, whole: bool) -> None:
        call.outgoing.credit = call.outgoing.queued_bytes
        self.sent_requests.pay(call.one_way_cost())
        self._start(call, with_id=not whole)

    def _start(self, call: MadeCall, with_id: bool) -> None:
        """Sends the CALL. Its slot is chosen here, because slots must be dense in the order of CALL packets."""
        if with_id:
            self._assign_slot(call)
        self.made_count += 1
        call.number = self.made_count
        call.in_flight = True
        self.sending[call.outgoing] = call
        self.ready[call.outgoing] = None
        self._take_turn(call.outgoing)

    def _assign_slot(self, call: MadeCall) -> None:
        if self.free_slots:
            call.slot = self.free_slots.pop()
        else:
            call.slot = len(self.made_slots)
            self.made_slots.append(None)
        self.made_slots[call.slot] = call
        call.outgoing.call_id = 2 * call.slot + (1 if self.connecting else 2)

    # ---- calls ----

    def start(self, method: Method, metadata: Metadata = (), timeout: float | None = None) -> MadeCall:
        """Begins a call whose requests follow with `MadeCall.send`."""
        call = MadeCall(self, method, metadata, timeout)
        call.outgoing.opens_empty = True
        self._enter(call)
        return call

    def start_with(
        self, method: Method, message: bytes, metadata: Metadata = (), timeout: float | None = None
    ) -> MadeCall:
        """Begins a call with one request."""
        self.check_message(message)
        call = MadeCall(self, method, metadata, timeout)
        call.outgoing.put(message)
        call.outgoing.finish()
        self._enter(call)
        return call

    async def unary(
        self, method: Method, message: bytes, metadata: Metadata = (), timeout: float | None = None
    ) -> bytes:
        return await self.start_with(method, message, metadata, timeout).reply()

    async def one_way(
        self, method: Method, message: bytes, metadata: Metadata = (), timeout: float | None = None
    ) -> None:
        """Waits until the message has left, but not for its handler."""
        await self.start_with(method, message, metadata, timeout).wait()

    def _enter(self, call: MadeCall) -> None:
        """A new call starts, waits for a slot, or fails at once."""
        self.made.add(call)
        if self.closing or self.drained_by_them:
            call.end(Status(Code.UNAVAILABLE, self.reason or "the other side drains", refused=True))
            return
        if call.method.one_way:
            self.waiting_one_way.append(call)
        elif call.depth > 1 and self._used_slots() >= self.theirs.max_calls:
            # A call that is so deep must not wait for others that may wait for it.
            call.end(Status(Code.RESOURCE_EXHAUSTED, "no slot is free (max_calls)", refused=True))
            return
        else:
            (self.waiting_nested if call.depth else self.waiting).append(call)
        call.start_timer()
        self._progress()

    # ---- time ----

    async def _watch(self) -> None:
        """Looks after all that must happen within a time."""
        config = self.config
        shortest = min(
            config.handshake_timeout,
            config.packet_timeout,
            config.write_timeout,
            config.keep_alive_interval,
            config.keep_alive_timeout,
            config.stall_timeout,
        )
        while not self.closing:
            await asyncio.sleep(shortest / 10)
            if not self.closing:
                self._check_times(time.monotonic())

    def _check_times(self, now: float) -> None:
        config = self.config
        if not self.opened.is_set():
            if now - self.began > config.handshake_timeout:
                self.close(CloseCode.TIMED_OUT, "no hello")
            return
        if self.input and now - self.packet_began > config.packet_timeout:
            self.close(CloseCode.TIMED_OUT, "a packet does not become whole")
        elif self._write_stalls(now):
            self.close(CloseCode.TIMED_OUT, "the output is not read")
        elif self.pings_sent:
            if now - max(self.last_byte, self.ping_sent_at) > config.keep_alive_timeout:
                self.close(CloseCode.TIMED_OUT, "nothing came after a ping")
        elif now - self.last_byte > self.keep_alive_interval:
            self._send_ping(now)
        self._end_stalled(now)

    def _send_ping(self, now: float) -> None:
        self.pings_sent.append(os.urandom(8))
        self.ping_sent_at = now
        self.send(Ping(self.pings_sent[0]))

    def _write_stalls(self, now: float) -> bool:
        waits = self.transport.get_write_buffer_size()
        taken = self.written - waits
        if waits == 0 or taken - self.taken >= WRITE_PROGRESS:
            self.taken, self.taken_at = taken, now
        return now - self.taken_at > self.config.write_timeout

    def _end_stalled(self, now: float) -> None:
        """Ends calls that have had something to send for long, but no credit or no slot for it."""
        if self.paused:
            return
        late = now - self.config.stall_timeout
        status = Status(Code.RESOURCE_EXHAUSTED, "no credit came (stall_timeout)")
        for outgoing, call in list(self.sending.items()):
            if outgoing.waits() and outgoing.progress < late:
                call.cancel(status) if isinstance(call, MadeCall) else call.fail(status)
        for call in [*self.waiting, *self.waiting_nested, *self.waiting_one_way]:
            if call.outgoing.progress < late:
                call.cancel(status)

    # ---- the end ----

    def drain(self) -> None:
        """Accepts no more calls. The connection closes when all calls have ended."""
        if not self.draining and not self.closing:
            self.draining = True
            # The DRAIN of an accepting side follows its hello.
            if self.has_written:
                self.send(Drain(self.accepted))
            self._progress()

    def _end_drain(self) -> None:
        if self.draining and not self.made and not self.served:
            self.close(CloseCode.NORMAL, "")

    def close(self, code: CloseCode = CloseCode.NORMAL, text: str = "") -> None:
        """Sends a CLOSE and ends all calls. It reads on for a short time, until the other side has ended too."""
        if self.closing:
            return
        if not self.has_written:
            self._write_preface()
        self.send(Close(code, cut(text, MAX_CLOSE_TEXT)))
        self._end(f"this side closed the connection with code {code}: {text}")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _end(self, reason: str) -> None:
        """No packet is sent or handled any more, and all calls are over."""
        if self.closing:
            return
        self.closing = True
        self.reason = reason
        for call in list(self.made):
            call.end(Status(Code.UNAVAILABLE, reason, refused=not call.in_flight))
        for call in list(self.served):
            call.finish()

    async def wait_ended(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            await self.ended.wait()


async def connect(host: str, port: int, config: Config | None = None, methods: Iterable[Method] = ()) -> Connection:
    """Connects, and waits for the hello of the other side."""
    config = config or Config()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(config.handshake_timeout):
        _, connection = await loop.create_connection(lambda: Connection(config, True, methods), host, port)
        await connection.opened.wait()
    if connection.closing:
        raise ConnectionError(connection.reason)
    return connection


async def serve(
    host: str,
    port: int,
    config: Config,
    methods: Iterable[Method],
    accepted: Callable[[Connection], None] = lambda connection: None,
) -> asyncio.Server:
    """Accepts connections, each with the methods. `accepted` gets each connection, before its hello has come."""

    def new_connection() -> Connection:
        connection = Connection(config, False, methods)
        accepted(connection)
        return connection

    return await asyncio.get_running_loop().create_server(new_connection, host, port)
