"""Intents in Gateway API's kinds: routes whose parents are Services (GAMMA), and what stands beside them.

Not an adapter: a mesh that takes these kinds starts from `render`, and adds how it injects, encrypts and so on.
Backends are Services of their own here, whatever way an intent asks for. What Gateway API has no words for is
unsupported.
"""

from . import resilience, routing
from .base import render
from .ingress import ingress

__all__ = ["ingress", "render", "resilience", "routing"]
