"""Runs the official Gateway API conformance suite against the mesh of a cluster, without a registry.

The suite and its echo programs are built from pinned Go modules, and packed into images that have the names which the
suite's manifests ask for: one of ours for the mesh tests, the suite's own for the gateway tests.
`python -m tests.gateway_api.official --help` runs it by hand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.cluster.golang import find_go, go_environment
from fixtures.images import oci, tarball
from fixtures.images.plan import File, Link, Plan

__all__ = [
    "FEATURES",
    "GATEWAY_FEATURES",
    "GATEWAY_PROFILES",
    "PROFILES",
    "Outcome",
    "build_basic_images",
    "build_image",
    "build_suite",
    "command",
    "run",
]

SOURCE = Path(__file__).parent
IMAGE = "registry.k8s.io/gateway-api/conformance/echo-advanced:v0.1.0"
"""What the suite's mesh manifests ask for."""
BASIC_IMAGES = tuple(
    f"registry.k8s.io/gateway-api/conformance/echo-basic:{version}" for version in ("v0.1.0", "v0.2.0")
)
"""What its gateway manifests ask for."""
_BASIC = "sigs.k8s.io/gateway-api-conformance-images/echo-basic"

PROFILES = ("MESH-HTTP", "MESH-GRPC")
FEATURES = (
    "Mesh",
    "HTTPRoute",
    "GRPCRoute",
    "MeshClusterIPMatching",
    "MeshConsumerRoute",
    "MeshHTTPRouteBackendRequestHeaderModification",
    "MeshHTTPRouteNamedRouteRule",
    "MeshHTTPRouteQueryParamMatching",
    "MeshHTTPRouteRedirectPath",
    "MeshHTTPRouteRedirectPort",
    "MeshHTTPRouteRewritePath",
    "MeshHTTPRouteSchemeRedirect",
    # Not of the mesh profiles, yet mesh tests ask for them, and are skipped without a word where they are not named.
    "HTTPRouteParentRefPort",
    "HTTPRouteResponseHeaderModification",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
)
"""Named one by one: the suite's own "all features" means gateways too, and then asks for a GatewayClass."""

GATEWAY_PROFILES = ("GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP")
GATEWAY_FEATURES = (
    "Gateway",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
    "ReferenceGrant",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GRPCRouteNamedRouteRule",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
)
"""The core of the profiles, and of the extended features those that refmesh has."""
_AT_GATEWAYS = {"gateway-class": "refmesh", "mode": "gateway"}

_GO = (1, 27, 0)
_BUILD_SECONDS = 1500
_RUN_SECONDS = 1200
_URL = "https://github.com/meshproof/meshproof"


@dataclass(frozen=True)
class Outcome:
    """How a run went: names of tests by their verdict, and all that the suite printed."""

    code: int
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    output: str


def _go(arguments: Sequence[str]) -> None:
    go = find_go(_GO)
    command = [str(go), *arguments]
    done = subprocess.run(
        command, cwd=SOURCE, env=go_environment(go), capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ends with {done.returncode}: {done.stderr[-4000:]}")


def build_suite(target: Path) -> None:
    """Build the suite as one program; minutes the first time, seconds afterwards."""
    _go(["test", "-c", "-ldflags=-s -w", "-o", str(target), "."])


def build_image(archive: Path) -> None:
    """Build the image of the echo program under the name that the suite's manifests carry."""
    _build_image("./echo", [(archive, IMAGE)])


def build_basic_images(folder: Path) -> list[Path]:
    """Build the image of the suite's own echo program, an archive for each name of it."""
    named = [(folder / f"echo-basic-{index}.tar", name) for index, name in enumerate(BASIC_IMAGES)]
    _build_image(_BASIC, named)
    return [archive for archive, _ in named]


def _build_image(package: str, named: Sequence[tuple[Path, str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        program, packed = Path(scratch) / "echo", Path(scratch) / "layer.tar"
        _go(["build", "-ldflags=-s -w", "-o", str(program), package])
        plan = Plan()
        plan.add("/usr/local/bin/echo-server", File(program, executable=True))
        plan.add("/usr/local/bin/client", Link("echo-server"))
        digest = tarball.pack(plan, packed)
        layer = oci.Layer("echo", packed, digest, packed.stat().st_size)
        for archive, name in named:
            oci.write_archive(archive, name, [layer], {}, entrypoint=["/usr/local/bin/echo-server"])


def command(suite: Path, report: Path, only: str = "", *, gateway: bool = False) -> list[str]:
    """The call of the suite that runs its mesh tests, or its core tests of gateways; `KUBECONFIG` names the cluster."""
    arguments = {
        "conformance-profiles": ",".join(GATEWAY_PROFILES if gateway else PROFILES),
        "supported-features": ",".join(GATEWAY_FEATURES if gateway else FEATURES),
        **(_AT_GATEWAYS if gateway else {"namespace-labels": "istio-injection=enabled"}),
        "organization": "meshproof",
        "project": "refmesh",
        "url": _URL,
        "version": f"v{metadata.version('meshproof')}",
        "contact": f"{_URL}/issues",
        "report-output": str(report),
        **({"run-test": only} if only else {}),
    }
    return [str(suite), "-test.v", "-test.timeout=18m", *(f"--{name}={value}" for name, value in arguments.items())]


def run(suite: Path, kubeconfig: Path, report: Path, only: str = "", *, gateway: bool = False) -> Outcome:
    """Run the suite in namespaces of its own. It writes its ConformanceReport to `report`."""
    done = subprocess.run(
        command(suite, report, only, gateway=gateway),
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        cwd=SOURCE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_RUN_SECONDS,
    )
    return _outcome(done.returncode, done.stdout)


def _outcome(code: int, output: str) -> Outcome:
    """The verdict of every test of the suite: the level below the one Go test that runs it."""
    named: dict[str, list[str]] = {"PASS": [], "FAIL": [], "SKIP": []}
    for line in output.splitlines():
        text = line.strip()
        for verdict, names in named.items():
            start = f"--- {verdict}: TestConformance/"
            if text.startswith(start) and "/" not in (name := text.removeprefix(start).split(" ")[0]):
                names.append(name)
    return Outcome(code, tuple(named["PASS"]), tuple(named["FAIL"]), tuple(named["SKIP"]), output)


def main() -> int:
    """Build, load, run; 0 if every test passed."""
    parser = argparse.ArgumentParser(description="The official Gateway API conformance tests, on a cluster.")
    parser.add_argument("cluster", help="name of a running embedded cluster with refmesh installed")
    parser.add_argument("--report", type=Path, default=Path("gateway-api-report.yaml"))
    parser.add_argument("--only", default="", help="one test of the suite")
    parser.add_argument("--gateway", action="store_true", help="the gateway's core tests instead of the mesh's")
    options = parser.parse_args()
    provider = EmbeddedProvider()
    with tempfile.TemporaryDirectory() as scratch:
        suite, image = Path(scratch) / "suite", Path(scratch) / "echo.tar"
        build_suite(suite)
        if options.gateway:
            images = build_basic_images(Path(scratch))
        else:
            build_image(image)
            images = [image]
        for archive in images:
            provider.load(options.cluster, archive)
        kubeconfig, report = provider.kubeconfig(options.cluster), options.report.absolute()
        found = run(suite, kubeconfig, report, options.only, gateway=options.gateway)
    sys.stdout.write(found.output)
    if options.report.exists():
        summary = yaml.safe_load(options.report.read_text(encoding="utf-8"))["profiles"]
        sys.stdout.write(yaml.safe_dump(summary))
    sys.stdout.write(f"{len(found.passed)} passed, {len(found.failed)} failed, {len(found.skipped)} skipped\n")
    return found.code


if __name__ == "__main__":
    sys.exit(main())
