"""Makes ELF files of the least that a loader reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

_HEADER, _SEGMENT = 64, 56


def elf(needed: Sequence[str] = (), *, runpath: str = "", interpreter: str = "", machine: int = 62) -> bytes:
    """A 64-bit little-endian ELF file: one loaded segment over all of it, its dynamic section, its interpreter."""
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    for tag, text in [*((1, name) for name in needed), *([(29, runpath)] if runpath else [])]:
        tags.append((tag, len(strings)))
        strings += text.encode() + b"\0"
    segments = 2 + bool(interpreter)
    dynamic_at = _HEADER + segments * _SEGMENT
    strings_at = dynamic_at + (len(tags) + 2) * 16
    interpreter_at = strings_at + len(strings)
    name = interpreter.encode() + b"\0" if interpreter else b""
    base = 0x400000  # addresses differ from offsets, as they do in real files
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in [*tags, (5, base + strings_at), (0, 0)])
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, _HEADER, 0, 0, _HEADER, _SEGMENT, segments, 0, 0, 0)
    table = _segment(1, 0, base, interpreter_at + len(name)) + _segment(2, dynamic_at, base + dynamic_at, len(dynamic))
    if interpreter:
        table += _segment(3, interpreter_at, base + interpreter_at, len(name))
    return header + table + dynamic + strings + name


def write(path: Path, *needed: str, runpath: str = "", machine: int = 62) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(elf(needed, runpath=runpath, machine=machine))
    return path


def _segment(kind: int, offset: int, address: int, length: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 4, offset, address, address, length, length, 8)
