"""The status of a call, and the cutting of texts that are too long to arrive."""

from __future__ import annotations

from enum import IntEnum

from codec import End, Limits, Metadata, encode_metadata

MAX_STATUS_TEXT = 4_096
MAX_CLOSE_TEXT = 1_024


class Code(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Status(Exception):
    """How a call failed. `refused` says that it was certainly not served."""

    def __init__(
        self, code: Code, text: str = "", refused: bool = False, metadata: Metadata = (), details: bytes = b""
    ):
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text
        self.refused = refused
        self.metadata = list(metadata)
        self.details = details

    @classmethod
    def of(cls, end: End) -> Status:
        code = Code(end.code) if end.code <= Code.UNAUTHENTICATED else Code.UNKNOWN
        return cls(code, end.text, end.refused, end.metadata, end.details)

    def packet(self, call: int, limits: Limits) -> End:
        """The END that gives this status to a side with these limits; what does not fit is left out."""
        end = End(call, self.code, self.refused, self.metadata, details=self.details)
        left_out = []
        block = len(encode_metadata(self.metadata))
        too_many = len(self.metadata) > limits.max_metadata_entries
        if too_many or block > min(limits.max_metadata_bytes, limits.max_packet_bytes - MAX_STATUS_TEXT - 2):
            left_out.append(f"{len(self.metadata)} entries of metadata with {block} bytes")
            end.metadata, block = [], 0
        if block + 2 + MAX_STATUS_TEXT + len(self.details) > limits.max_packet_bytes:
            left_out.append(f"details with {len(self.details)} bytes")
            end.details = b""
        note = f" [left out: {', '.join(left_out)}]" if left_out else ""
        end.text = cut(self.text, MAX_STATUS_TEXT - len(note)) + note
        return end


def cut(text: str, most: int) -> str:
    """The text with at most so many bytes. A text that is cut says so at its end."""
    data = text.encode()
    if len(data) <= most:
        return text
    note = f"… [cut: a text with {len(data)} bytes]"
    return data[: most - len(note.encode())].decode(errors="ignore") + note
