"""Protocol buffers' wire format by hand, for the few messages of the agent.

The agent runs once beside every Envoy. Importing the protobuf runtime with generated xDS classes would cost it several
megabytes and 40 ms of every pod's start, for five small messages. The unit tests hold this module against the real
protobuf classes. Format: https://protobuf.dev/programming-guides/encoding/

Not for the control plane's own messages, which use the generated classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Malformed", "fields", "length_delimited", "text", "varint_field"]

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_MAX_UINT64 = (1 << 64) - 1


class Malformed(ValueError):
    """The bytes are no protobuf message of the expected shape."""


def _varint(value: int) -> bytes:
    value &= _MAX_UINT64  # negative int64 values travel as their two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_field(number: int, value: int) -> bytes:
    """Encode an integer, bool or enum field. Zero, the default, is left out as proto3 asks."""
    return _varint(number << 3 | _VARINT) + _varint(value) if value else b""


def length_delimited(number: int, value: bytes) -> bytes:
    """Encode a bytes or sub-message field; also when empty, since presence of a sub-message carries meaning."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def text(number: int, value: str) -> bytes:
    """Encode a string field. Empty, the default, is left out as proto3 asks."""
    return length_delimited(number, value.encode()) if value else b""


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("truncated or oversized varint")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _MAX_UINT64, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) in wire order; value is an unsigned integer or bytes. Raises `Malformed`.

    Unknown fields come out as well: the caller ignores what it does not know.
    """
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("field number 0")
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if kind == _LENGTH_DELIMITED:
            size, at = _read_varint(data, at)
        elif kind == _FIXED64:
            size = 8
        elif kind == _FIXED32:
            size = 4
        else:
            raise Malformed(f"wire type {kind}")
        if size > len(data) - at:
            raise Malformed("truncated field")
        yield number, data[at : at + size]
        at += size
