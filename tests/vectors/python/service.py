"""The service of proto/tests/vectors.proto, and its messages."""

from __future__ import annotations

import asyncio

from calls import MadeCall, Method, ServedCall
from status import Code, Status

SERVICE = 70


def encode_text(text: str) -> bytes:
    """The message `Text`: one string with the number 1, which is left out when it is empty."""
    data = text.encode()
    return b"\x0a" + _varint(len(data)) + data if data else b""


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def decode_text(data: bytes) -> str:
    try:
        return _decode_text(data)
    except (IndexError, ValueError) as error:
        raise Status(Code.INVALID_ARGUMENT, f"this is no Text: {error}") from None


def _decode_text(data: bytes) -> str:
    text, at = "", 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field with the number 0")
        if wire_type == 0:
            _, at = _read_varint(data, at)
            continue
        if wire_type == 2:
            length, at = _read_varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if at + length > len(data):
            raise ValueError("a field that does not fit")
        if number == 1 and wire_type == 2:
            text = data[at : at + length].decode()
        at += length
    return text


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        number |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return number, at
    raise ValueError("a varint of more than ten bytes")


async def _echo(call: ServedCall) -> bytes:
    return encode_text(decode_text(call.request))


async def _repeat(call: ServedCall) -> None:
    message = encode_text(decode_text(call.request))
    for _ in range(3):
        await call.send(message)


async def _count(call: ServedCall) -> bytes:
    messages = length = 0
    async for message in call:
        messages += 1
        length += len(decode_text(message).encode())
    return encode_text(f"{messages} {length}")


async def _talk(call: ServedCall) -> None:
    async for message in call:
        await call.send(encode_text(decode_text(message)))


async def _note(call: ServedCall) -> None:
    await call.connection.one_way(NOTE, encode_text(decode_text(call.request)))


async def _fail(call: ServedCall) -> None:
    raise Status(Code.FAILED_PRECONDITION, decode_text(call.request))


async def _wait(call: ServedCall) -> None:
    decode_text(call.request)
    await _hold(call)


async def _hold(call: ServedCall) -> None:
    """Ends with its task: when the call is cancelled, its deadline has passed, or the connection ends."""
    await asyncio.Event().wait()


async def _call(call: ServedCall) -> bytes:
    name, *texts = decode_text(call.request).split(" ")
    method = CALLABLE.get(name)
    if method is None:
        raise Status(Code.INVALID_ARGUMENT, f"Call has no method {name!r}")
    try:
        replies = await _make(call, method, [encode_text(text) for text in texts])
    except Status as status:
        return encode_text(f"failed {int(status.code)}{' refused' if status.refused else ''}")
    return encode_text(" ".join(["ok", *replies]))


async def _make(call: ServedCall, method: Method, requests: list[bytes]) -> list[str]:
    if method.request_stream:
        made = call.connection.start(method)
        for request in requests:
            await made.send(request)
        made.finish()
    else:
        made = call.connection.start_with(method, requests[0] if requests else b"")
    return await _replies(made)


async def _replies(made: MadeCall) -> list[str]:
    if made.method.one_way:
        await made.wait()
        return []
    if made.method.reply_stream:
        return [_decode_reply(reply) async for reply in made]
    return [_decode_reply(await made.reply())]


def _decode_reply(data: bytes) -> str:
    """A reply that cannot be decoded is the fault of the callee, so the caller does not call it an argument."""
    try:
        return decode_text(data)
    except Status as status:
        raise Status(Code.INTERNAL, status.text) from None


async def _drain(call: ServedCall) -> bytes:
    decode_text(call.request)
    call.connection.drain()
    return encode_text("draining")


ECHO = Method(SERVICE, 1, handler=_echo)
REPEAT = Method(SERVICE, 2, reply_stream=True, handler=_repeat)
COUNT = Method(SERVICE, 3, request_stream=True, handler=_count)
TALK = Method(SERVICE, 4, request_stream=True, reply_stream=True, handler=_talk)
NOTE = Method(SERVICE, 5, one_way=True, handler=_note)
FAIL = Method(SERVICE, 6, handler=_fail)
WAIT = Method(SERVICE, 7, handler=_wait)
HOLD = Method(SERVICE, 8, request_stream=True, reply_stream=True, handler=_hold)
CALL = Method(SERVICE, 9, handler=_call)
DRAIN = Method(SERVICE, 10, handler=_drain)

METHODS = [ECHO, REPEAT, COUNT, TALK, NOTE, FAIL, WAIT, HOLD, CALL, DRAIN]
CALLABLE = {"Echo": ECHO, "Repeat": REPEAT, "Count": COUNT, "Talk": TALK, "Note": NOTE}
