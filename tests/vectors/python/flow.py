"""One direction of a call: messages that come, messages that leave, and the credit for them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from codec import Call, CloseCode, Limits, Message, Packet, Reply, Violation
from status import Status

# What a message costs of the credit of all calls, besides its length.
MESSAGE_COST = 64
# A chunk that is not the last should have at least this many bytes.
SMALL_CHUNK = 1_024
# No packet needs to be larger than this, whatever the other side takes: calls take turns between packets.
MAX_SENT_PACKET = 131_072
# How many bytes of messages may wait in one direction before its sender has to wait.
QUEUE_BYTES = 65_536


class SharedCredit:
    """The credit of all calls that this side has given, for requests or for replies."""

    def __init__(self, initial: int):
        self.initial = initial
        self.left = initial
        self.free = 0

    def charge(self, cost: int) -> None:
        if self.left <= 0:
            raise Violation("a message begins without credit of all calls", CloseCode.LIMIT)
        self.left -= cost

    def give_back(self, cost: int) -> None:
        self.free += cost

    def grant(self) -> int:
        """The credit to grant now: it is gathered up to half of the initial sum, to save packets."""
        if self.free < self.initial // 2:
            return 0
        granted, self.free = self.free, 0
        self.left += granted
        return granted


class Incoming:
    """The messages of one direction as they come.

    A direction that discards still finds violations and pays, because the other side cannot know about it yet.
    """

    def __init__(self, limits: Limits, max_small_chunks: int, shared: SharedCredit, metered: bool = True):
        self.limits = limits
        self.max_small_chunks = max_small_chunks
        self.shared = shared
        # One-way messages need no credit of their direction.
        self.metered = metered
        self.credit = limits.initial_credit_bytes
        # Whole messages, each with what it cost of the shared credit.
        self.queue: deque[tuple[bytes, int]] = deque()
        self.queued_bytes = 0
        # How many messages have begun.
        self.begun = 0
        # The message that is not whole.
        self.total: int | None = None
        self.received = 0
        self.cost = 0
        self.buffer = bytearray()
        self.small_chunks = 0
        self.discards = False
        self.ended = False
        self.error: Status | None = None
        self.changed = asyncio.Event()

    def take(self, packet: Call | Reply | Message, cost: int = 0) -> bool:
        """Takes the message bytes of a packet. `cost` is paid already, or to be paid for a MESSAGE.

        Returns False if the message is larger than this side takes: then the direction discards from here on.
        """
        continues = isinstance(packet, Message) and packet.continues
        if continues != (self.total is not None):
            raise Violation("a chunk that continues nothing" if continues else "a message within another")
        fits = continues or self._begin(packet, cost)
        self._pay(len(packet.message))
        more = packet.total is not None or (continues and packet.more)
        self._add(packet.message, more)
        self.changed.set()
        return fits

    def _begin(self, packet: Call | Reply | Message, cost: int) -> bool:
        self.begun += 1
        self.total = len(packet.message) if packet.total is None else packet.total
        self.received = self.small_chunks = 0
        self.cost = cost
        if isinstance(packet, Message):
            self.cost = self.total + MESSAGE_COST
            self.shared.charge(self.cost)
        fits = self.total <= self.limits.max_message_bytes
        if not fits or self.discards:
            self.discard()
        return fits

    def _pay(self, count: int) -> None:
        if self.metered:
            if count > self.credit:
                raise Violation(f"{count} message bytes with credit for {self.credit}", CloseCode.LIMIT)
            self.credit -= count

    def _add(self, data: bytes, more: bool) -> None:
        self.received += len(data)
        if more != (self.received < self.total) or self.received > self.total:
            raise Violation(f"chunks that do not add up to {self.total} bytes")
        self.small_chunks += more and len(data) < SMALL_CHUNK
        if self.small_chunks > self.max_small_chunks:
            raise Violation("too many small chunks in a message", CloseCode.LIMIT)
        if not self.discards:
            self.buffer += data
        if not more:
            self._complete()

    def _complete(self) -> None:
        if not self.discards:
            self.queue.append((bytes(self.buffer), self.cost))
            self.queued_bytes += self.total
        self.total = None
        self.received = self.cost = 0
        self.buffer.clear()

    def end(self) -> None:
        if self.total is not None:
            raise Violation("an end between two chunks of a message")
        self.ended = True
        self.changed.set()

    def fail(self, error: Status) -> None:
        """No more comes. What is whole may still be read; then the error follows."""
        self.release()
        self.ended = True
        self.error = error
        self.buffer.clear()
        self.changed.set()

    def release(self) -> None:
        """Gives the shared credit of all messages back, because the call is over."""
        for index, (message, cost) in enumerate(self.queue):
            self.shared.give_back(cost)
            self.queue[index] = (message, 0)
        self.shared.give_back(self.cost)
        self.cost = 0

    def discard(self) -> None:
        """Drops what is there, and what is still to come."""
        self.release()
        self.discards = True
        self.queue.clear()
        self.queued_bytes = 0
        self.buffer.clear()

    def pop(self) -> bytes:
        message, cost = self.queue.popleft()
        self.queued_bytes -= len(message)
        if self.metered:
            self.shared.give_back(cost)
        else:
            # A one-way message holds its credit until it is served: nothing else bounds the handlers at work.
            self.cost = cost
        return message

    def grant(self) -> int:
        """The credit of this direction to grant now.

        A message that has begun must be able to become whole when all before it are consumed. Besides, what is
        consumed is granted again, when it is at least half of the initial credit.
        """
        if self.discards or self.ended or not self.metered:
            return 0
        room = self.limits.initial_credit_bytes - self.credit - self.queued_bytes - self.received
        needed = 0
        if self.total is not None and not self.queue:
            needed = self.total - self.received - self.credit
        if needed <= 0 and room < self.limits.initial_credit_bytes // 2:
            return 0
        granted = max(room, needed)
        self.credit += granted
        return granted


class Outgoing:
    """The messages of one direction as they leave: in chunks, and never more than there is credit for."""

    def __init__(
        self,
        limits: Limits,
        shared: SentCredit,
        open_packet: Callable[..., Packet],
        end_packet: Callable[[], Packet],
        open_bytes: Callable[[], int],
    ):
        self.limits = limits
        self.shared = shared
        # Makes the CALL or the REPLY with which the direction begins; it has room for `open_bytes` less.
        self.open_packet = open_packet
        self.open_bytes = open_bytes
        self.end_packet = end_packet
        self.call_id = 0
        self.credit = limits.initial_credit_bytes
        self.queue: deque[bytes] = deque()
        self.queued_bytes = 0
        # How much of the first message of the queue has left.
        self.sent = 0
        self.opened = False
        # The direction begins with NO_MESSAGE if there is no message yet.
        self.opens_empty = False
        self.finishing = False
        # An end has metadata, so it needs a packet of its own.
        self.ends_apart = False
        self.ended = False
        self.progress = time.monotonic()
        self.changed = asyncio.Event()

    def put(self, message: bytes) -> None:
        self._wants()
        self.queue.append(message)
        self.queued_bytes += len(message)

    def finish(self) -> None:
        self._wants()
        self.finishing = True

    def _wants(self) -> None:
        """The time of a stall begins when there is something to send."""
        if not self.waits():
            self.progress = time.monotonic()

    def stop(self) -> None:
        """Nothing more leaves: the call is over."""
        self.ended = True
        self.queue.clear()
        self.queued_bytes = 0
        self.changed.set()

    def waits(self) -> bool:
        """Whether there is anything to send."""
        return not self.ended and (bool(self.queue) or self.finishing or (self.opens_empty and not self.opened))

    def is_full(self) -> bool:
        return self.queued_bytes > QUEUE_BYTES

    def next(self) -> Packet | None:
        """The next packet, or None if there is nothing to send or no credit for it."""
        if not self.waits():
            return None
        if self.sent:
            packet = self._chunk()
        elif self.queue:
            packet = self._first()
        elif not self.opened and self.opens_empty:
            packet = self.open_packet(message=None, total=None, end=False)
        else:
            packet = self.end_packet()
            self.ended = True
        if packet is not None:
            self.opened = True
            self.progress = time.monotonic()
            self.changed.set()
        return packet

    def _first(self) -> Packet | None:
        message = self.queue[0]
        if self.opened and not self.shared.may_begin():
            return None
        room = self._room()
        whole = len(message) <= min(room, self.credit)
        # A first chunk may be small: once the message has begun, the receiver must grant what it needs.
        size = len(message) if whole else min(room - 4, self.credit)
        if size == 0 and message:
            return None
        total = None if whole else len(message)
        end = whole and self._ends()
        self._advance(size)
        if not self.opened:
            return self.open_packet(message=message[:size], total=total, end=end)
        self.shared.pay(len(message) + MESSAGE_COST)
        return Message(self.call_id, message[:size], end=end, total=total)

    def _room(self) -> int:
        """How many message bytes the next packet has room for."""
        return min(self.limits.max_packet_bytes, MAX_SENT_PACKET) - (0 if self.opened else self.open_bytes())

    def fits_packet(self) -> bool:
        """Whether the next message fits into the next packet."""
        return len(self.queue[0]) <= self._room()

    def _chunk(self) -> Packet | None:
        message, at = self.queue[0], self.sent
        rest = len(message) - at
        size = min(rest, self.credit, self._room())
        if size < min(rest, SMALL_CHUNK):
            return None
        last = size == rest
        end = last and self._ends()
        self._advance(size)
        return Message(self.call_id, message[at : at + size], end=end, continues=True, more=not last)

    def _ends(self) -> bool:
        """Whether the end flag belongs on the last packet of the first message of the queue."""
        return self.finishing and len(self.queue) == 1 and not self.ends_apart

    def _advance(self, size: int) -> None:
        ends = self._ends()
        self.credit -= size
        self.sent += size
        if self.sent == len(self.queue[0]):
            self.queued_bytes -= len(self.queue.popleft())
            self.sent = 0
            self.ended = ends


class SentCredit:
    """The credit of all calls that the other side has given, for requests or for replies."""

    def __init__(self, initial: int):
        self.initial = initial
        self.left = initial

    def may_begin(self) -> bool:
        return self.left > 0

    def may_begin_one_way(self) -> bool:
        """A quarter is left to streams."""
        return self.left > self.initial // 4

    def pay(self, cost: int) -> None:
        self.left -= cost
