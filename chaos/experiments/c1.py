"""C1: the control plane at 0. Traffic goes on, and so does policy; after it, proxies take news again."""

from __future__ import annotations

from chaos.experiment import Experiment, NotHere, Setup
from chaos.faults import ScaleToZero
from chaos.judging import judged, no_added_errors
from chaos.objects import ECHO, ECHO_PORT, service
from chaos.scene import Scene

__all__ = ["EXPERIMENT"]

FRESH_PORT = 8082
"""A port no other service has, so that no listener for it exists before."""


def _prepare(scene: Scene) -> Setup:
    found = scene.adapter.control_plane()
    if found is None:
        raise NotHere("there is no control plane that could be taken away")
    namespace, deployment = found

    fresh = service(f"{ECHO}-after", scene.space, ECHO, "http", FRESH_PORT, ECHO_PORT)
    made: list[str] = []

    def converged() -> bool:
        """Whether proxies take news again: a service made after the outage is routed to under strict mutual TLS.

        To a proxy that has not heard of it, its address is a stranger's, and plaintext there is refused.
        """
        now = scene.kube.get("apps/v1", "Deployment", deployment, namespace)
        if not (now and now.get("status", {}).get("readyReplicas")):
            return False
        if not made:
            scene.kube.apply(fresh)
            made.append(ECHO)
        return scene.reaches(f"http://{ECHO}-after.{scene.space}:{FRESH_PORT}/")

    return Setup(
        fault=ScaleToZero(namespace, deployment),
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/",
        recovered=converged,
        facts={"control plane": f"{namespace}/{deployment}"},
    )


EXPERIMENT = Experiment(
    id="C1",
    title="control plane at 0: traffic goes on",
    hypothesis="no added error while the control plane is away, strict mutual TLS holds, and news is taken after it",
    fault=ScaleToZero.name,
    prepare=_prepare,
    judge=judged(no_added_errors),
    proves=("control-plane-outage",),
    disruptive=True,
    lossless=True,
)
