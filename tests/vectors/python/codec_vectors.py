"""Checks the codec against packets.txt, invalid.txt and ids.txt."""

from __future__ import annotations

from collections.abc import Iterator

import codec
import vectors
from codec import (
    Call,
    Cancel,
    Close,
    Credit,
    Drain,
    End,
    Hello,
    Limits,
    Message,
    Move,
    Ping,
    Pong,
    Reply,
    Unknown,
    Violation,
)

# invalid.txt is for a side with the default limits.
DEFAULT_LIMITS = Limits(131_072, 4_194_304, 8_192, 64, 1_024, 262_144, 8_388_608, 8_388_608)

KINDS = {kind.__name__.lower(): kind for kind in codec.Packet.__args__}


def check() -> Iterator[tuple[str, str | None]]:
    """Yields the name of each check, and what is wrong with it, if anything."""
    for lines in vectors.read("packets.txt"):
        yield _checked(f"packets: {dict(lines)['name']}", _packet, lines)
    for lines in vectors.read("invalid.txt"):
        yield _checked(f"invalid: {dict(lines)['name']}", _invalid, lines)
    for lines in vectors.read("ids.txt"):
        yield _checked(f"ids: {lines[0][1]}", _id, lines)


def _checked(name: str, function, lines: vectors.Lines) -> tuple[str, str | None]:
    try:
        return name, function(lines)
    except Violation as violation:
        return name, f"refused with {violation.code}: {violation.text}"


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> codec.Packet:
    head = codec.decode_head(data[: codec.HEAD_BYTES], limits)
    return codec.decode(head, data[codec.HEAD_BYTES :], limits)


def _packet(lines: vectors.Lines) -> str | None:
    fields = dict(lines)
    # The bytes of a credit have the same key as the bytes of the vector, which come first.
    data = vectors.expand(next(value for key, value in lines if key == "bytes"))
    begin = next(index for index, (key, _) in enumerate(lines) if key == "kind")
    expected = lines[begin:]
    packet = decode(data)
    if meaning(packet) != expected:
        return f"expected the meaning {expected}, got {meaning(packet)}"
    if "written" not in fields and codec.encode(from_meaning(expected)) != data:
        return f"expected the bytes {data.hex()}, got {codec.encode(from_meaning(expected)).hex()}"
    return None


def _invalid(lines: vectors.Lines) -> str | None:
    fields = dict(lines)
    try:
        packet = decode(vectors.expand(fields["bytes"]))
    except Violation as violation:
        expected, got = int(fields["close"]), violation.code
        return None if expected == got else f"expected close {expected}, got {got}: {violation.text}"
    return f"expected close {fields['close']}, got {packet}"


def _id(lines: vectors.Lines) -> str | None:
    fields = dict(lines)
    if "fingerprint" in fields:
        expected = fields["fingerprint"]
        got = f"{codec.fingerprint([value for key, value in lines if key == 'line']):016x}"
    else:
        expected = fields["id"]
        got = f"{codec.name_id(lines[0][1]):08x}"
    return None if expected == got else f"expected {expected}, got {got}"


def meaning(packet: codec.Packet) -> vectors.Lines:
    """The lines that packets.txt has for a packet."""
    lines = [("kind", type(packet).__name__.lower())]
    match packet:
        case Hello():
            lines += [(name, str(value)) for name, value in vars(packet.limits).items()]
            lines += _unless_empty("default_timeout_ms", packet.default_timeout_ms or "")
            lines += _unless_empty("claimed_name", packet.claimed_name)
            lines += _unless_empty("credentials", packet.credentials.hex())
            lines += _unless_empty("services", packet.services.hex())
            lines += _unless_empty("features", packet.features or "")
            lines += _unless_empty("role", packet.role or "")
            lines += _unless_empty("keep_alive_ms", packet.keep_alive_ms or "")
        case Ping() | Pong():
            lines.append(("data", packet.data.hex()))
        case Drain():
            lines.append(("accepted", str(packet.accepted)))
        case Close():
            lines.append(("code", str(packet.code)))
            lines += _unless_empty("text", packet.text)
        case Call():
            lines += _unless_empty("call", packet.call or "")
            lines += [("service", str(packet.service)), ("method", str(packet.method))]
            lines += [("one_way", "yes")] if packet.one_way else []
            lines += [] if packet.timeout_ms is None else [("timeout_ms", str(packet.timeout_ms))]
            lines += _metadata_lines(packet) + _message_lines(packet)
        case Reply():
            lines += [("call", str(packet.call)), *_metadata_lines(packet), *_message_lines(packet)]
        case Message():
            lines.append(("call", str(packet.call)))
            lines += [("continues", "yes")] if packet.continues else []
            lines += _message_lines(packet)
        case End():
            lines += [("call", str(packet.call)), ("code", str(packet.code))]
            lines += [("refused", "yes")] if packet.refused else []
            lines += _metadata_lines(packet)
            lines += _unless_empty("text", packet.text) + _unless_empty("details", packet.details.hex())
        case Cancel():
            lines.append(("call", str(packet.call)))
        case Credit():
            of = ("of", "replies" if packet.replies else "requests")
            lines += [("call", str(packet.call)) if packet.call else of, ("bytes", str(packet.bytes))]
        case Move():
            lines += [("not_before_ms", str(packet.not_before_ms)), ("not_after_ms", str(packet.not_after_ms))]
            lines += _unless_empty("address", packet.address)
        case Unknown():
            lines.append(("number", str(packet.number)))
    return lines


def _unless_empty(key: str, value: object) -> vectors.Lines:
    return [(key, str(value))] if value != "" else []


def _metadata_lines(packet: Call | Reply | End) -> vectors.Lines:
    return [("metadata", f"{key} = {value.hex()}") for key, value in packet.metadata]


def _message_lines(packet: Call | Reply | Message) -> vectors.Lines:
    lines = []
    if packet.total is not None:
        lines.append(("total", str(packet.total)))
    if packet.message is not None:
        lines.append(("message", packet.message.hex()))
    if packet.end:
        lines.append(("end", "yes"))
    if packet.total is not None or getattr(packet, "more", False):
        lines.append(("more", "yes"))
    return lines


def from_meaning(lines: vectors.Lines) -> codec.Packet:
    """The packet that the lines of packets.txt describe."""
    fields = dict(lines)
    kind = KINDS[fields.pop("kind")]
    fields.pop("metadata", None)
    metadata = [_entry(value) for key, value in lines if key == "metadata"]
    replies = fields.pop("of", None) == "replies"
    # The flag of a first chunk follows from its total.
    more = fields.pop("more", None) == "yes" and "total" not in fields
    values = {key: _value(key, value) for key, value in fields.items()}
    if kind is Hello:
        limits = Limits(**{name: values.pop(name) for name in vars(Limits())})
        return Hello(limits, **values)
    if kind in (Call, Credit):
        values.setdefault("call", 0)
    if kind in (Call, Reply):
        values.setdefault("message", None)
    if metadata:
        values["metadata"] = metadata
    if replies:
        values["replies"] = True
    if more:
        values["more"] = True
    return kind(**values)


def _entry(value: str) -> tuple[str, bytes]:
    key, _, data = value.partition("=")
    return key.strip(), bytes.fromhex(data)


def _value(key: str, value: str) -> object:
    if key in ("message", "data", "credentials", "services", "details"):
        return bytes.fromhex(value)
    if key in ("claimed_name", "text", "address"):
        return value
    return True if value == "yes" else int(value)
