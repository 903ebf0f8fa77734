"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A slow moment of the machine is no finding about the code: examples have no time limit.
settings.register_profile("meshproof", deadline=None)
# For the nights: what is found is kept in .hypothesis, and the next ordinary run meets it first.
settings.register_profile("fuzz", deadline=None, max_examples=3000, derandomize=False)
settings.load_profile("meshproof")
