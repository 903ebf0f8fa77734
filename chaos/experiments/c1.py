"""C1: the control plane at 0. Traffic goes on, and so does policy."""

from __future__ import annotations

from chaos.experiment import Experiment, NotHere, Setup
from chaos.faults import ScaleToZero
from chaos.judging import judged, no_added_errors
from chaos.objects import ECHO, ECHO_PORT
from chaos.scene import Scene

__all__ = ["EXPERIMENT"]


def _prepare(scene: Scene) -> Setup:
    found = scene.adapter.control_plane()
    if found is None:
        raise NotHere("there is no control plane that could be taken away")
    namespace, deployment = found

    def back() -> bool:
        now = scene.kube.get("apps/v1", "Deployment", deployment, namespace)
        return bool(now and now.get("status", {}).get("readyReplicas"))

    return Setup(
        fault=ScaleToZero(namespace, deployment),
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/",
        recovered=back,
        facts={"control plane": f"{namespace}/{deployment}"},
    )


EXPERIMENT = Experiment(
    id="C1",
    title="control plane at 0: traffic goes on",
    hypothesis="no added error while the control plane is away, and strict mutual TLS still holds",
    fault=ScaleToZero.name,
    prepare=_prepare,
    judge=judged(no_added_errors),
    proves=("control-plane-outage",),
)
