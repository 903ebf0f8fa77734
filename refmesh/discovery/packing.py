"""Small helpers for building protobuf messages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value

__all__ = ["duration", "pack", "uint32", "uint64"]


def pack(message: Any) -> Any:
    """The message as a typed Any, the same bytes for the same content."""
    packed = PackedAny()
    packed.Pack(message, deterministic=True)
    return packed


def duration(value: timedelta | float) -> Any:
    """A protobuf Duration from a timedelta or seconds."""
    found = Duration()
    found.FromTimedelta(value if isinstance(value, timedelta) else timedelta(seconds=value))
    return found


def uint32(value: int) -> Any:
    """A wrapped number: present even when it is 0."""
    return UInt32Value(value=value)


def uint64(value: int) -> Any:
    """A wrapped number: present even when it is 0."""
    return UInt64Value(value=value)
