"""What refmesh's own program is told by environment when we start it: it may import none of the rooms."""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["CRDS", "refmesh_variables"]

CRDS = "REFMESH_GATEWAY_API_CRDS"
"""Directory with the custom resource definitions of the Gateway API."""


def refmesh_variables() -> Sequence[tuple[str, str]]:
    """The variables to add; nothing is fetched or built for them."""
    if os.environ.get(CRDS):
        return ()
    from fixtures.cluster.programs import directory, missing

    if missing(["gateway-api"]):
        return ()
    return ((CRDS, str(directory("gateway-api") / "standard")),)
