"""The ways in and out: whatever ingress controller a user meshes."""

from __future__ import annotations

from conformance.adapters.words import cannot
from conformance.intents import Ingress, OutsideHost, WayOut

from .base import render

cannot(
    render, "it brings no gateway of its own: an ingress controller of the user's is meshed like a workload", Ingress
)
cannot(
    render, "what it knows of outside is an EgressNetwork, which this adapter does not write yet", WayOut, OutsideHost
)
