"""Our checks beside the official Gateway API suite's tests of the same features, on one cluster, one after the other.

Both are timed as they time themselves: from the moment when the ground (namespaces and pods) stands to the verdict.
What a ground gets for all of its checks at once, such as all routes, is added to each of them in equal parts. The ratio
says how many times longer the official test takes. Ours judge more in that time: the official suite asks a case
again until it is answered as wanted, ours wait for a mark of their own configuration and then judge every answer.

    meshproof cluster create bench && meshproof refmesh install …
    python -m benchmarks.official_suite bench
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.catalogue import checks
from conformance.tally import PREPARING
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.images import build_archive
from tests.gateway_api import official

SAME: Mapping[str, str] = {
    "MeshHTTPRouteMatching": "RT-01",
    "MeshHTTPRoute303Redirect": "RT-06",
    "MeshHTTPRoute307Redirect": "RT-06",
    "MeshHTTPRoute308Redirect": "RT-06",
    "MeshHTTPRouteBackendRequestHeaderModifier": "RT-04",
    "MeshGRPCRouteRequestHeaderModifier": "RT-04",
    "MeshHTTPRouteQueryParamMatching": "RT-01",
    "MeshHTTPRouteRequestHeaderModifier": "RT-04",
    "MeshHTTPRouteRewritePath": "RT-05",
    "MeshHTTPRouteRedirectHostAndStatus": "RT-06",
    "MeshHTTPRouteRedirectPath": "RT-06",
    "MeshHTTPRouteRedirectPort": "RT-06",
    "MeshHTTPRouteSchemeRedirect": "RT-06",
    "MeshHTTPRouteWeight": "WT-01",
    "MeshGRPCRouteWeight": "WT-04",
    "MeshHTTPRouteParentRefPort": "RT-08",
    "MeshPorts": "RT-08",
    "MeshConsumerRoute": "RT-09",
    "MeshTrafficSplit": "WT-01",
}
"""Test of the official suite to the check that proves the same feature."""


def official_seconds(cluster: str, scratch: Path) -> dict[str, float]:
    """Seconds of every passed test of the official suite."""
    provider = EmbeddedProvider()
    suite, image = scratch / "suite", scratch / "echo.tar"
    official.build_suite(suite)
    official.build_image(image)
    provider.load(cluster, image)
    command = official.command(suite, scratch / "report.yaml")
    # In this form Go tells of each test when it ends, and what it says of its seconds leaves out parallel subtests.
    command[command.index("-test.v")] = "-test.v=test2json"
    environment = {**os.environ, "KUBECONFIG": str(provider.kubeconfig(cluster))}
    began, spent, tail = dict[str, float](), dict[str, float](), deque[str](maxlen=40)
    with subprocess.Popen(command, cwd=official.SOURCE, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            tail.append(line)
            if found := re.search(r"(=== RUN|--- PASS:)\s+TestConformance/(\w+)(?: \(|$)", line.rstrip()):
                if found[1] == "=== RUN":
                    began[found[2]] = time.monotonic()
                else:
                    spent[found[2]] = time.monotonic() - began[found[2]]
    if process.returncode:
        sys.exit(f"the official suite fails here:\n{''.join(tail)}")
    return spent


def our_seconds(cluster: str, image: str, scratch: Path) -> dict[str, float]:
    """Seconds of our checks, one at a time as the official suite runs its tests, and no ground starts meanwhile."""
    grounds: dict[str, list[str]] = {}
    for one in checks():
        if one.id in SAME.values():
            grounds.setdefault(one.ground, []).append(one.id)
    seconds: dict[str, float] = {}
    for ground, ids in grounds.items():
        found = _our_run(cluster, image, scratch / "ours" / ground, ids)
        stages = {one["name"]: one["seconds"] for one in found["stages"]}
        shared = stages.get(f"{PREPARING} {ground}", 0.0) / sum(one.ground == ground for one in checks())
        seconds |= {one["id"]: one["seconds"] + shared for one in found["results"] if one["id"] in ids}
    return seconds


def _our_run(cluster: str, image: str, reports: Path, ids: Sequence[str]) -> dict[str, Any]:
    kubeconfig = EmbeddedProvider().kubeconfig(cluster)
    command = [
        *(sys.executable, "-m", "meshproof_cli", "conformance", "--mesh", "refmesh", "--workers", "1"),
        *("--kubeconfig", str(kubeconfig), "--image", image, "--report-dir", str(reports), "--only", ",".join(ids)),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"our own checks fail here:\n{done.stdout[-4000:]}")
    found: dict[str, Any] = json.loads((reports / "results.json").read_text())
    return found


def main() -> None:
    """Print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("cluster", help="name of a running embedded cluster with refmesh installed")
    cluster = parser.parse_args().cluster
    archive = build_archive()
    EmbeddedProvider().load(cluster, archive.path)
    with tempfile.TemporaryDirectory() as scratch:
        ours = our_seconds(cluster, archive.reference, Path(scratch))
        theirs = official_seconds(cluster, Path(scratch))
    print(f"{'official test':<40}{'seconds':>9}   {'check':<7}{'seconds':>9}{'ratio':>9}")
    spent: dict[str, float] = {}
    for name, check in SAME.items():
        if name in theirs:
            spent[check] = spent.get(check, 0.0) + theirs[name]
            ratio = theirs[name] / ours[check]
            print(f"{name:<40}{theirs[name]:>9.2f}   {check:<7}{ours[check]:>9.2f}{ratio:>9.1f}")
    # A check that covers several tests is set against all of them together.
    ratios = {check: seconds / ours[check] for check, seconds in spent.items()}
    slowest = min(ratios, key=ratios.__getitem__)
    mean = statistics.geometric_mean(ratios.values())
    print(f"per check: geometric mean {mean:.1f}, least {ratios[slowest]:.1f} ({slowest}); limit 5")
    unmatched = sorted(theirs.keys() - SAME.keys())
    print(f"not compared, as no check of ours is about the same alone: {', '.join(unmatched)}")


if __name__ == "__main__":
    main()
