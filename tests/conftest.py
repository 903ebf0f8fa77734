"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A slow moment of the machine is no finding about the code: examples have no time limit.
settings.register_profile("meshproof", deadline=None)
settings.load_profile("meshproof")
