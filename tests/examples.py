"""How many examples a property test tries."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["at_least"]


def at_least(examples: int) -> settings:
    """This many examples, or as many as the profile asks for if that is more (`--hypothesis-profile fuzz`)."""
    return settings(max_examples=max(examples, settings().max_examples))
