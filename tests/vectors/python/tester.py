"""Runs the vectors of states.txt and invalid.txt against a live side, as tests/vectors/README.md describes it.

The tester uses nothing but the codec: it must not share the faults of the client library, which it tests as well.
"""

from __future__ import annotations

import queue
import select
import socket
import subprocess
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import codec
import vectors
from codec import Call, Cancel, Close, Credit, Drain, End, Hello, Limits, Message, Move, Ping, Pong, Reply, Unknown

# How long the tester waits for an event: more than any vector needs, but a bound for a side that hangs.
EVENT_SECONDS = 20.0
START_SECONDS = 20.0
# Most vectors wait for nothing, and some for a second, so a few connections at a time shorten a run.
PARALLEL = 4

EMPTY_HELLO = bytes.fromhex("000000000100000000000000")
CLOSE = codec.encode(Close(0))
OWN_PING = bytes.fromhex("7e577e577e577e57")
# The tester announces the minimum of each limit, but takes whatever fits a packet.
TAKEN = Limits(max_packet_bytes=2**30, max_metadata_bytes=2**30, max_metadata_entries=65_535)


class Failure(Exception):
    """A vector has not the outcome that it says."""


@dataclass
class Vector:
    file: str
    name: str
    level: str
    opening: bool
    pongs: bool
    steps: vectors.Lines


def load() -> list[Vector]:
    """All vectors for a live side, with the steps that the README adds to them."""
    return [_state_vector(lines) for lines in vectors.read("states.txt")] + [
        _invalid_vector(dict(lines)) for lines in vectors.read("invalid.txt")
    ]


def _state_vector(lines: vectors.Lines) -> Vector:
    fields = dict(lines)
    steps = [(key, value) for key, value in lines if key in ("send", "flood", "gets")]
    last_event = next(value for key, value in reversed(steps) if key == "gets")
    if last_event.split()[0] not in ("close", "eof"):
        if steps[-1] != ("gets", "nothing"):
            steps.append(("gets", "nothing"))
        steps += [("send", CLOSE.hex()), ("gets", "eof")]
    opening, pongs = fields.get("opening") != "no", fields.get("pongs") != "no"
    return Vector("states", fields["name"], fields.get("level", "must"), opening, pongs, steps)


def _invalid_vector(fields: dict[str, str]) -> Vector:
    steps = [("send", fields["bytes"]), ("gets", f"close {fields['close']}")]
    return Vector("invalid", fields["name"], "must", True, True, steps)


class Wire:
    """The bytes of one connection, both ways.

    It reads while it writes, and after a failed write it reads on: the other side may have closed the connection
    while a flood was on its way, and what it sent before still counts.
    """

    def __init__(self, connection: socket.socket):
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.output = bytearray()
        self.ends = False

    def send(self, data: bytes) -> None:
        self.output += data
        self._write()

    def end(self) -> None:
        """Ends the sending direction, behind what is still to be sent."""
        self.ends = True
        self._write()

    def _write(self) -> None:
        try:
            while self.output:
                del self.output[: self.socket.send(self.output)]
            if self.ends:
                self.socket.shutdown(socket.SHUT_WR)
                self.ends = False
        except BlockingIOError:
            pass
        except OSError:
            self.output.clear()
            self.ends = False

    def read(self, seconds: float) -> bytes | None:
        """What comes within the time: nothing after it, and None at the end of the bytes."""
        readable, writable, _ = select.select([self.socket], [self.socket] if self.output else [], [], seconds)
        if writable:
            self._write()
        if not readable:
            return b""
        try:
            return self.socket.recv(65_536) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None


class Run:
    """One vector on one connection."""

    def __init__(self, vector: Vector, wire: Wire, connects: bool):
        self.vector = vector
        self.wire = wire
        self.connects = connects
        self.input = bytearray()
        self.preface_came = False
        # The event of a CLOSE, which is whole when the end of the bytes has come too.
        self.close_event = ""
        self.ended = False
        # Events that no step has taken, by call. Those of no call have the key "".
        self.events: dict[str, deque[str]] = defaultdict(deque)
        self.credit: dict[str, int] = defaultdict(int)
        self.messages: dict[str, bytearray] = defaultdict(bytearray)
        self.own_pong_came = False
        # Whether the tester has sent anything.
        self.has_sent = False

    def run(self) -> None:
        if self.vector.opening:
            self.wire.send(codec.PREFACE + EMPTY_HELLO)
            self.has_sent = True
        for key, value in self.vector.steps:
            try:
                getattr(self, f"_step_{key}")(value)
            except Failure as failure:
                raise Failure(f"{key} {value[:100]}: {failure}") from None
        self._expect_no_events()

    def _step_send(self, value: str) -> None:
        if value == "eof":
            self.wire.end()
        else:
            self.wire.send(vectors.expand(value, self.connects))
            self.has_sent = True

    def _step_flood(self, value: str) -> None:
        count, _, words = value.partition(" ")
        self.wire.send(vectors.expand(words, self.connects) * int(count))

    def _step_gets(self, value: str) -> None:
        kind, *words = value.split()
        if kind == "nothing":
            self._expect_nothing()
        elif kind == "credit":
            of, least = words[0], int(words[1])
            self._wait_for(lambda: self.credit[of] >= least)
            if self.credit[of] < least:
                raise Failure(f"credit of {self.credit[of]} came {self._how_it_stands()}")
        else:
            self._expect_event(kind, words)

    def _expect_event(self, kind: str, words: list[str]) -> None:
        of_call = kind in ("call", "message", "end", "cancel")
        taken_from = self.events[words[0] if of_call else ""]
        if kind == "message":
            words[1:] = [vectors.expand(" ".join(words[1:]), self.connects).hex()]
        self._wait_for(lambda: bool(taken_from))
        if not taken_from:
            raise Failure(f"nothing came {self._how_it_stands()}")
        event = taken_from.popleft()
        if not _matches(event, " ".join([kind, *words]).strip()):
            raise Failure(f"{event[:100]} came {self._how_it_stands()}")

    def _expect_nothing(self) -> None:
        self.own_pong_came = False
        self.wire.send(codec.encode(Ping(OWN_PING)))
        self._wait_for(lambda: self.own_pong_came)
        self._expect_no_events()
        if not self.own_pong_came:
            raise Failure(f"no pong came for the ping of the tester {self._how_it_stands()}")

    def _expect_no_events(self) -> None:
        left = [event[:100] for events in self.events.values() for event in events]
        if left:
            raise Failure(f"more events came: {left}")

    def _how_it_stands(self) -> str:
        left = [event[:100] for events in self.events.values() for event in events]
        return f"(the bytes have ended: {self.ended}; other events: {left})"

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        """Reads until the condition holds, the bytes end, or the time is up."""
        deadline = time.monotonic() + EVENT_SECONDS
        while not condition() and not self.ended and time.monotonic() < deadline:
            data = self.wire.read(deadline - time.monotonic())
            if data is None:
                self._end()
            else:
                self.input += data
                self._read_packets()

    def _end(self) -> None:
        self.ended = True
        if self.close_event:
            self.events[""].append(self.close_event)
        elif self.input:
            raise Failure(f"the bytes end within a packet: {self.input[:40].hex()}")
        else:
            self.events[""].append("eof")

    def _read_packets(self) -> None:
        if not self.preface_came and len(self.input) >= len(codec.PREFACE):
            if not self.input.startswith(codec.PREFACE):
                raise Failure(f"this is no preface: {self.input[:8].hex()}")
            del self.input[: len(codec.PREFACE)]
            self.preface_came = True
        while self.preface_came and len(self.input) >= codec.HEAD_BYTES:
            end = codec.HEAD_BYTES + int.from_bytes(self.input[:4], "big")
            if len(self.input) < end:
                return
            data = bytes(self.input[:end])
            del self.input[:end]
            self._packet(self._decoded(data))

    def _decoded(self, data: bytes) -> codec.Packet:
        if self.close_event:
            raise Failure(f"bytes behind a CLOSE: {data[:40].hex()}")
        try:
            head = codec.decode_head(data[: codec.HEAD_BYTES], TAKEN)
            return codec.decode(head, data[codec.HEAD_BYTES :], TAKEN)
        except codec.Violation as violation:
            raise Failure(f"a packet that breaks a rule: {violation.text}: {data[:40].hex()}") from None

    def _packet(self, packet: codec.Packet) -> None:
        match packet:
            case Ping() if self.vector.pongs:
                self.wire.send(codec.encode(Pong(packet.data)))
            case Ping():
                self.events[""].append("ping")
            case Pong(data) if data == OWN_PING:
                self.own_pong_came = True
            case Pong(data):
                self.events[""].append(f"pong {data.hex()}")
            case Drain():
                self.events[""].append(f"drain {packet.accepted}")
            case Close():
                self.close_event = f"close {packet.code}"
            case Credit(call=0):
                self.credit["replies" if packet.replies else "requests"] += packet.bytes
            case Credit():
                self.credit[self._name(packet.call)] += packet.bytes
            case Call() | Reply() | Message() | End() | Cancel():
                self._packet_of_call(packet, self._name(packet.call))
            case Hello():
                if self.connects and not self.has_sent:
                    raise Failure("the accepting side says hello before the tester has")
            case Move():
                raise Failure("the side under test asks to move")
            case Unknown():
                raise Failure(f"a packet of kind {packet.number}")

    def _packet_of_call(self, packet: Call | Reply | Message | End | Cancel, name: str) -> None:
        events = self.events[name]
        match packet:
            case Cancel():
                events.append(f"cancel {name}")
                return
            case End():
                events.append(f"end {name} {packet.code}" + (" refused" if packet.refused else ""))
                return
            case Call():
                events.append(f"call {name} {packet.service} {packet.method}{_call_details(packet)}")
        if packet.message is None:
            return
        self.messages[name] += packet.message
        if packet.total is None and not getattr(packet, "more", False):
            events.append(f"message {name} {self.messages.pop(name).hex()}".strip())
            if packet.end:
                events.append(f"end {name} 0")

    def _name(self, call: int) -> str:
        if call == 0:
            return "0"
        odd = call % 2 == 1
        return f"{'T' if odd == self.connects else 'U'}{(call - 1) // 2}"


def _call_details(call: Call) -> str:
    depths = [value.decode() for key, value in call.metadata if key == "wawo-depth"]
    details = "".join(f" depth={depth}" for depth in depths)
    return details + (f" timeout={call.timeout_ms}" if call.timeout_ms else "")


def _matches(event: str, expected: str) -> bool:
    """Whether an event is the expected one. What a `call` says of depth and timeout counts only where it is asked."""
    came, asked = event.split(), expected.split()
    if came[0] != "call" or asked[0] != "call":
        return event == expected
    details = dict(word.split("=") for word in came[4:])
    return came[:4] == asked[:4] and all(_detail_matches(details, word) for word in asked[4:])


def _detail_matches(details: dict[str, str], asked: str) -> bool:
    if asked.startswith("timeout<="):
        return "timeout" in details and int(details["timeout"]) <= int(asked.removeprefix("timeout<="))
    key, _, value = asked.partition("=")
    return details.get(key) == value


# ---- the live side, in both roles ----


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen]:
    """A process that ends with the block."""
    # It writes to stderr why each connection ended, which is what the vectors are about.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def printed_address(process: subprocess.Popen) -> tuple[str, int]:
    """The address in the first line that the process prints, within a time."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=START_SECONDS)
    except queue.Empty:
        raise TimeoutError("the live side prints no address") from None
    host, _, port = line.strip().removeprefix("tcp://").rpartition(":")
    return host, int(port)


Outcome = tuple[Vector, str | None]


def run_accepting(command: list[str], chosen: list[Vector]) -> Iterator[Outcome]:
    """The side under test accepts, and the tester connects."""
    with started([*command, "tcp://127.0.0.1:0"]) as process, ThreadPoolExecutor(PARALLEL) as pool:
        address = printed_address(process)
        yield from pool.map(lambda vector: _run_connecting(vector, address), chosen)


def _run_connecting(vector: Vector, address: tuple[str, int]) -> Outcome:
    try:
        connection = socket.create_connection(address, timeout=START_SECONDS)
    except OSError as error:
        return vector, f"cannot connect: {error}"
    return _run_on(vector, connection, connects=True)


def run_connecting(command: list[str], chosen: list[Vector]) -> Iterator[Outcome]:
    """The side under test connects, again after each end, and the tester accepts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(START_SECONDS)
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with started([*command, "connect", address]):
            for vector in chosen:
                yield _run_accepted(vector, listener)


def _run_accepted(vector: Vector, listener: socket.socket) -> Outcome:
    try:
        connection, _ = listener.accept()
    except OSError as error:
        return vector, f"the side does not connect: {error}"
    return _run_on(vector, connection, connects=False)


def _run_on(vector: Vector, connection: socket.socket, connects: bool) -> Outcome:
    with connection:
        try:
            Run(vector, Wire(connection), connects).run()
        except Failure as failure:
            return vector, str(failure)
        return vector, None
