"""The question by which an agent learns that there is something new to trust, and its answer.

A method of refmesh's own on the discovery port, where client certificates are verified. Encoded by hand (see `wire`):
the agent runs beside every Envoy.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmesh.ca import wire

__all__ = ["METHOD", "SERVICE", "Hint", "Question"]

SERVICE = "refmesh.trust.v1.Hints"
METHOD = f"/{SERVICE}/Await"


@dataclass(frozen=True)
class Question:
    """Node id of the proxy that asks (as in discovery), and the generation of trust that it uses."""

    node: str
    known: int

    def encode(self) -> bytes:
        """Return the wire form."""
        return wire.text(1, self.node) + wire.varint_field(2, self.known)

    @classmethod
    def decode(cls, data: bytes) -> Question:
        """Parse the wire form. Raises `wire.Malformed`."""
        node, known = "", 0
        for number, value in wire.fields(data):
            if number == 1 and isinstance(value, bytes):
                node = value.decode(errors="replace")
            elif number == 2 and isinstance(value, int):
                known = value
        return cls(node, known)


@dataclass(frozen=True)
class Hint:
    """The generation of trust by now, and over how many milliseconds those who hear of it shall spread."""

    generation: int
    spread_milliseconds: int = 0

    def encode(self) -> bytes:
        """Return the wire form."""
        return wire.varint_field(1, self.generation) + wire.varint_field(2, self.spread_milliseconds)

    @classmethod
    def decode(cls, data: bytes) -> Hint:
        """Parse the wire form. Raises `wire.Malformed`."""
        found = {number: value for number, value in wire.fields(data) if isinstance(value, int)}
        return cls(found.get(1, 0), found.get(2, 0))
