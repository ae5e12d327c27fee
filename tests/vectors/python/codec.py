"""The packets of wawo version 1: bytes to packets, and packets to bytes.

Nothing here knows the state of a connection. `decode_head` checks what the header of a packet says by itself, and
`decode` does the same for its payload. What they refuse, they refuse with a `Violation`, which has the code of the
CLOSE that the other side must get.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

PREFACE = b"WAWO/1\r\n"
HEAD_BYTES = 12
MAX_HELLO_BYTES = 16_384
MAX_ADDRESS_BYTES = 1_024
MAX_CREDIT = 2**31
MAX_LIMIT = 2**30


class Kind(IntEnum):
    HELLO = 1
    PING = 2
    PONG = 3
    DRAIN = 4
    CLOSE = 5
    CALL = 6
    REPLY = 7
    MESSAGE = 8
    END = 9
    CANCEL = 10
    CREDIT = 11
    MOVE = 128


# A side skips packets of kinds from this number on that it does not know.
FIRST_SKIPPED = 128


class Flag(IntFlag):
    END = 0x01
    MORE = 0x02
    METADATA = 0x04
    TIMEOUT = 0x08
    ONE_WAY = 0x10
    NO_MESSAGE = 0x20
    CONTINUES = 0x40
    REFUSED = 0x80
    # The same bit has another name on a CREDIT.
    REPLIES = 0x80


_KINDS = frozenset(Kind)

ALLOWED_FLAGS = {
    Kind.CALL: Flag.END | Flag.MORE | Flag.METADATA | Flag.TIMEOUT | Flag.ONE_WAY | Flag.NO_MESSAGE,
    Kind.REPLY: Flag.END | Flag.MORE | Flag.METADATA | Flag.NO_MESSAGE,
    Kind.MESSAGE: Flag.END | Flag.MORE | Flag.CONTINUES,
    Kind.END: Flag.METADATA | Flag.REFUSED,
    Kind.CREDIT: Flag.REPLIES,
}


class CloseCode(IntEnum):
    NORMAL = 0
    VIOLATION = 1
    LIMIT = 2
    VERSION = 3
    TIMED_OUT = 4
    INTERNAL = 5
    UNAUTHENTICATED = 6
    SESSION_UNKNOWN = 7
    SPEAK_TLS = 8


class Violation(Exception):
    """The other side broke a rule: the connection ends with a CLOSE of this code and text."""

    def __init__(self, text: str, code: CloseCode = CloseCode.VIOLATION):
        super().__init__(text)
        self.text = text
        self.code = code


Metadata = list[tuple[str, bytes]]


@dataclass
class Limits:
    """What a side announces. The defaults are the minimums, which hold where a hello says nothing."""

    max_packet_bytes: int = 16_384
    max_message_bytes: int = 65_536
    max_metadata_bytes: int = 8_192
    max_metadata_entries: int = 64
    max_calls: int = 64
    initial_credit_bytes: int = 65_536
    request_credit_bytes: int = 65_536
    reply_credit_bytes: int = 65_536

    def check(self) -> None:
        minimum = Limits()
        maximum = Limits(*[MAX_LIMIT] * 8)
        maximum.max_metadata_bytes = self.max_packet_bytes - 64
        maximum.max_metadata_entries = 65_535
        for name, value in vars(self).items():
            least, most = getattr(minimum, name), getattr(maximum, name)
            if not least <= value <= most:
                raise Violation(f"{name} is {value}; it must be from {least} to {most}")


@dataclass
class Hello:
    limits: Limits = field(default_factory=Limits)
    default_timeout_ms: int = 0
    claimed_name: str = ""
    credentials: bytes = b""
    services: bytes = b""
    features: int = 0
    # 1 for the side that connects, 2 for the one that accepts, 0 where the hello does not say it.
    role: int = 0
    keep_alive_ms: int = 0


@dataclass
class Ping:
    data: bytes


@dataclass
class Pong:
    data: bytes


@dataclass
class Drain:
    accepted: int


@dataclass
class Close:
    code: int
    text: str = ""


@dataclass
class Call:
    """`message` is None with NO_MESSAGE. `total` is there in a first chunk, so it stands for the flag MORE."""

    call: int
    service: int
    method: int
    message: bytes | None
    end: bool = False
    one_way: bool = False
    timeout_ms: int | None = None
    metadata: Metadata = field(default_factory=list)
    total: int | None = None
    # The length of the block as it came, which a one-way call costs. A block without entries has 2 bytes.
    metadata_bytes: int = field(default=0, compare=False)


@dataclass
class Reply:
    call: int
    message: bytes | None
    end: bool = False
    metadata: Metadata = field(default_factory=list)
    total: int | None = None


@dataclass
class Message:
    """A first chunk has a `total`; a later one `continues`, and has `more` if it is not the last."""

    call: int
    message: bytes
    end: bool = False
    total: int | None = None
    continues: bool = False
    more: bool = False


@dataclass
class End:
    call: int
    code: int = 0
    refused: bool = False
    metadata: Metadata = field(default_factory=list)
    text: str = ""
    details: bytes = b""


@dataclass
class Cancel:
    call: int


@dataclass
class Credit:
    """With the call id 0 it is credit of all calls: for requests, or with `replies` for replies."""

    call: int
    bytes: int
    replies: bool = False


@dataclass
class Move:
    """The accepting side asks the other to connect anew. An empty address is the one of before."""

    not_before_ms: int
    not_after_ms: int
    address: str = ""


@dataclass
class Unknown:
    """A packet of a kind that is skipped. What it holds is not kept."""

    number: int


Packet = Hello | Ping | Pong | Drain | Close | Call | Reply | Message | End | Cancel | Credit | Move | Unknown


@dataclass
class Head:
    length: int
    # None for a packet that is skipped, whose kind is `number`.
    kind: Kind | None
    number: int
    flags: Flag
    code: int
    call: int


# ---- decoding ----


def decode_head(data: bytes, limits: Limits, first: bool = False) -> Head:
    """Checks all that the header alone can tell. The `first` packet of a side has the limit of a HELLO."""
    length, kind, flags, code, call = struct.unpack(">IBBHI", data)
    most = MAX_HELLO_BYTES if first or kind == Kind.HELLO else limits.max_packet_bytes
    if length > most:
        raise Violation(f"a packet with {length} bytes of payload, above {most}", CloseCode.LIMIT)
    if kind not in _KINDS:
        if kind >= FIRST_SKIPPED:
            return Head(length, None, kind, Flag(0), code, call)
        raise Violation(f"unknown packet kind {kind}")
    head = Head(length, Kind(kind), kind, Flag(flags), code, call)
    if head.flags & ~ALLOWED_FLAGS.get(head.kind, Flag(0)) or _flags_exclude_each_other(head.kind, head.flags):
        raise Violation(f"{head.kind.name} packet with flags {flags:#04x}")
    if code and head.kind not in (Kind.END, Kind.CLOSE):
        raise Violation(f"{head.kind.name} packet with code {code}")
    if not _call_id_fits(head):
        raise Violation(f"{head.kind.name} packet with call id {call}")
    return head


def _flags_exclude_each_other(kind: Kind, flags: Flag) -> bool:
    if kind in (Kind.END, Kind.CREDIT):
        return False
    if Flag.ONE_WAY in flags and (Flag.NO_MESSAGE in flags or not flags & (Flag.END | Flag.MORE)):
        return True
    return (flags & (Flag.END | Flag.MORE | Flag.NO_MESSAGE)).bit_count() > 1


def _call_id_fits(head: Head) -> bool:
    if head.kind < Kind.CALL or head.kind == Kind.MOVE:
        return head.call == 0
    if head.kind == Kind.CREDIT:
        return head.call == 0 or Flag.REPLIES not in head.flags
    has_none = head.kind == Kind.CALL and Flag.ONE_WAY in head.flags and Flag.MORE not in head.flags
    return (head.call == 0) == has_none


class _Payload:
    """Takes the parts of a payload from its front."""

    def __init__(self, head: Head, data: bytes):
        self.head = head
        self.data = data
        self.at = 0

    def fault(self) -> Violation:
        return Violation(f"{self.head.kind.name} packet with {len(self.data)} bytes, which does not fit its parts")

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise self.fault()
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int = 4) -> int:
        return int.from_bytes(self.take(count), "big")

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Violation(f"{self.head.kind.name} packet whose text is not UTF-8") from None

    def metadata(self, limits: Limits) -> Metadata:
        """The metadata block, if the flag for it is set."""
        if Flag.METADATA not in self.head.flags:
            return []
        begin = self.at
        entries = []
        count = self.number(2)
        if count > limits.max_metadata_entries:
            raise Violation(f"metadata with {count} entries, above max_metadata_entries", CloseCode.LIMIT)
        for _ in range(count):
            key = self.take(self.number(1))
            value = self.take(self.number(2))
            entries.append((checked_key(key), checked_value(key, value)))
        if self.at - begin > limits.max_metadata_bytes:
            raise Violation(f"metadata of {self.at - begin} bytes, above max_metadata_bytes", CloseCode.LIMIT)
        return entries

    def total(self) -> int | None:
        return self.number() if Flag.MORE in self.head.flags and Flag.CONTINUES not in self.head.flags else None

    def message(self) -> bytes | None:
        rest = self.rest()
        if Flag.NO_MESSAGE in self.head.flags:
            if rest:
                raise self.fault()
            return None
        if not rest and self.head.flags & (Flag.MORE | Flag.CONTINUES):
            raise Violation(f"{self.head.kind.name} packet with an empty chunk")
        return rest


_KEY_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")


def checked_key(key: bytes) -> str:
    if not 1 <= len(key) <= 255 or not _KEY_CHARACTERS.issuperset(key):
        raise Violation(f"metadata key {key!r}: 1 to 255 of a-z, 0-9, `-`, `_` and `.`")
    return key.decode()


def checked_value(key: bytes, value: bytes) -> bytes:
    if not key.endswith(b"-bin") and not all(0x20 <= byte <= 0x7E for byte in value):
        raise Violation(f"metadata value of {key!r} is not printable ASCII")
    return value


def decode(head: Head, data: bytes, limits: Limits) -> Packet:
    """Reads a payload whose header `decode_head` has accepted."""
    if head.kind is None:
        return Unknown(head.number)
    payload = _Payload(head, data)
    packet = _DECODERS[head.kind](head, payload, limits)
    if payload.at != len(data):
        raise payload.fault()
    return packet


def _decode_hello(head: Head, payload: _Payload, limits: Limits) -> Hello:
    hello = Hello()
    seen = set()
    while payload.at < len(payload.data):
        entry, length = payload.number(2), payload.number(4)
        value = payload.take(length)
        if entry not in _HELLO_NUMBERS and entry not in _HELLO_BYTES and entry != _ROLE:
            continue
        if entry in seen:
            raise Violation(f"entry {entry} stands twice in the hello")
        seen.add(entry)
        _set_hello_entry(hello, entry, value, payload)
    hello.limits.check()
    return hello


def _set_hello_entry(hello: Hello, entry: int, value: bytes, payload: _Payload) -> None:
    if entry == 9:
        if len(value) > 255:
            raise Violation(f"a claimed name of {len(value)} bytes")
        hello.claimed_name = payload.text(value)
    elif entry == _ROLE:
        if value not in (b"\x01", b"\x02"):
            raise Violation(f"a role of {value.hex()}")
        hello.role = value[0]
    elif entry in _HELLO_BYTES:
        setattr(hello, _HELLO_BYTES[entry], value)
    else:
        if len(value) != 4:
            raise Violation(f"entry {entry} of the hello with {len(value)} bytes")
        name = _HELLO_NUMBERS[entry]
        setattr(hello if hasattr(hello, name) else hello.limits, name, int.from_bytes(value, "big"))


# In the order in which they are written.
_HELLO_NUMBERS = {
    1: "max_packet_bytes",
    2: "max_message_bytes",
    3: "max_metadata_bytes",
    4: "max_metadata_entries",
    5: "max_calls",
    6: "initial_credit_bytes",
    7: "request_credit_bytes",
    12: "reply_credit_bytes",
    8: "default_timeout_ms",
    13: "features",
    15: "keep_alive_ms",
}
_ROLE = 14
_HELLO_BYTES = {9: "claimed_name", 10: "credentials", 11: "services"}


def _decode_call(head: Head, payload: _Payload, limits: Limits) -> Call:
    service, method = payload.number(), payload.number()
    timeout_ms = payload.number() if Flag.TIMEOUT in head.flags else None
    begin = payload.at
    metadata = payload.metadata(limits)
    return Call(
        head.call,
        service=service,
        method=method,
        timeout_ms=timeout_ms,
        metadata=metadata,
        metadata_bytes=payload.at - begin,
        total=payload.total(),
        message=payload.message(),
        end=Flag.END in head.flags,
        one_way=Flag.ONE_WAY in head.flags,
    )


def _decode_reply(head: Head, payload: _Payload, limits: Limits) -> Reply:
    return Reply(
        head.call,
        metadata=payload.metadata(limits),
        total=payload.total(),
        message=payload.message(),
        end=Flag.END in head.flags,
    )


def _decode_message(head: Head, payload: _Payload, limits: Limits) -> Message:
    return Message(
        head.call,
        total=payload.total(),
        message=payload.message(),
        end=Flag.END in head.flags,
        continues=Flag.CONTINUES in head.flags,
        more=Flag.MORE in head.flags and Flag.CONTINUES in head.flags,
    )


def _decode_end(head: Head, payload: _Payload, limits: Limits) -> End:
    end = End(head.call, head.code, Flag.REFUSED in head.flags, payload.metadata(limits))
    if payload.at < len(payload.data):
        end.text = payload.text(payload.take(payload.number(2)))
        end.details = payload.rest()
    return end


def _decode_credit(head: Head, payload: _Payload, limits: Limits) -> Credit:
    credit = Credit(head.call, payload.number(), Flag.REPLIES in head.flags)
    if credit.bytes == 0:
        raise Violation("a credit of 0 bytes")
    return credit


def _decode_move(head: Head, payload: _Payload, limits: Limits) -> Move:
    move = Move(payload.number(), payload.number(), payload.text(address := payload.rest()))
    if move.not_after_ms < move.not_before_ms or len(address) > MAX_ADDRESS_BYTES:
        raise Violation(f"a move to an address of {len(address)} bytes, not after {move.not_after_ms} ms")
    return move


_DECODERS = {
    Kind.HELLO: _decode_hello,
    Kind.PING: lambda head, payload, limits: Ping(payload.take(8)),
    Kind.PONG: lambda head, payload, limits: Pong(payload.take(8)),
    Kind.DRAIN: lambda head, payload, limits: Drain(payload.number(8)),
    Kind.CLOSE: lambda head, payload, limits: Close(head.code, payload.text(payload.rest())),
    Kind.CALL: _decode_call,
    Kind.REPLY: _decode_reply,
    Kind.MESSAGE: _decode_message,
    Kind.END: _decode_end,
    Kind.CANCEL: lambda head, payload, limits: Cancel(head.call),
    Kind.CREDIT: _decode_credit,
    Kind.MOVE: _decode_move,
}


# ---- encoding ----


def encode(packet: Packet) -> bytes:
    if isinstance(packet, Unknown):
        return struct.pack(">IBBHI", 0, packet.number, 0, 0, 0)
    flags, code, payload = _ENCODERS[type(packet)](packet)
    kind = Kind[type(packet).__name__.upper()]
    return struct.pack(">IBBHI", len(payload), kind, flags, code, getattr(packet, "call", 0)) + payload


def encode_metadata(metadata: Metadata) -> bytes:
    """A block with its count; nothing if there are no entries."""
    if not metadata:
        return b""
    parts = [struct.pack(">H", len(metadata))]
    for key, value in metadata:
        parts += [bytes([len(key)]), key.encode(), struct.pack(">H", len(value)), value]
    return b"".join(parts)


def _entry(entry: int, value: bytes) -> bytes:
    """An entry of a hello; nothing if it is empty."""
    return struct.pack(">HI", entry, len(value)) + value if value else b""


def _number_entry(entry: int, hello: Hello) -> bytes:
    """An entry of four bytes. Limits are always written, other numbers if they are not 0."""
    name = _HELLO_NUMBERS[entry]
    number = getattr(hello, name) if hasattr(hello, name) else getattr(hello.limits, name)
    return _entry(entry, struct.pack(">I", number)) if number else b""


def _encode_hello(hello: Hello) -> tuple[int, int, bytes]:
    parts = [_number_entry(entry, hello) for entry in _HELLO_NUMBERS if entry < 13]
    for entry, name in _HELLO_BYTES.items():
        value = getattr(hello, name)
        parts.append(_entry(entry, value.encode() if isinstance(value, str) else value))
    parts += [_number_entry(13, hello), _entry(_ROLE, bytes([hello.role] if hello.role else [])), _number_entry(15, hello)]
    return 0, 0, b"".join(parts)


def _message_part(packet: Call | Reply | Message) -> tuple[Flag, bytes]:
    """The flags that tell how the message stands in the packet, and its bytes with the total."""
    flags = Flag.END if packet.end else Flag(0)
    if packet.message is None:
        return flags | Flag.NO_MESSAGE, b""
    if packet.total is not None:
        return flags | Flag.MORE, struct.pack(">I", packet.total) + packet.message
    return flags, packet.message


def _encode_call(call: Call) -> tuple[int, int, bytes]:
    flags, message = _message_part(call)
    parts = [struct.pack(">II", call.service, call.method)]
    if call.timeout_ms is not None:
        flags |= Flag.TIMEOUT
        parts.append(struct.pack(">I", call.timeout_ms))
    if call.metadata:
        flags |= Flag.METADATA
        parts.append(encode_metadata(call.metadata))
    if call.one_way:
        flags |= Flag.ONE_WAY
    return flags, 0, b"".join([*parts, message])


def _encode_reply(reply: Reply) -> tuple[int, int, bytes]:
    flags, message = _message_part(reply)
    if reply.metadata:
        flags |= Flag.METADATA
    return flags, 0, encode_metadata(reply.metadata) + message


def _encode_message(message: Message) -> tuple[int, int, bytes]:
    flags, data = _message_part(message)
    if message.continues:
        flags |= Flag.CONTINUES
    if message.more:
        flags |= Flag.MORE
    return flags, 0, data


def _encode_end(end: End) -> tuple[int, int, bytes]:
    flags = Flag.METADATA if end.metadata else Flag(0)
    if end.refused:
        flags |= Flag.REFUSED
    payload = encode_metadata(end.metadata)
    if end.text or end.details:
        text = end.text.encode()
        payload += struct.pack(">H", len(text)) + text + end.details
    return flags, end.code, payload


_ENCODERS = {
    Hello: _encode_hello,
    Ping: lambda ping: (0, 0, ping.data),
    Pong: lambda pong: (0, 0, pong.data),
    Drain: lambda drain: (0, 0, struct.pack(">Q", drain.accepted)),
    Close: lambda close: (0, close.code, close.text.encode()),
    Call: _encode_call,
    Reply: _encode_reply,
    Message: _encode_message,
    End: _encode_end,
    Cancel: lambda cancel: (0, 0, b""),
    Move: lambda move: (0, 0, struct.pack(">II", move.not_before_ms, move.not_after_ms) + move.address.encode()),
    Credit: lambda credit: (Flag.REPLIES if credit.replies else 0, 0, struct.pack(">I", credit.bytes)),
}


# ---- ids ----


def _fnv1a(data: bytes, start: int, factor: int, bits: int) -> int:
    value = start
    for byte in data:
        value = (value ^ byte) * factor % 2**bits
    return value


def name_id(name: str) -> int:
    """The id of a service (by its full name) or a method (by its simple name) that the schema does not number."""
    return _fnv1a(name.encode(), 0x811C9DC5, 0x01000193, 32) | 0x80000000


def fingerprint(lines: list[str]) -> int:
    """The hash of the lines that describe a service."""
    data = "".join(line + "\n" for line in lines).encode()
    return _fnv1a(data, 0xCBF29CE484222325, 0x100000001B3, 64)
