"""From a mesh's adapter to what chaos and load need of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaos.objects import ECHO, Forgery, inside
from conformance.adapters import Adapter, Rendered, Unsupported, load
from conformance.dressing import Dressed
from conformance.ground import Place, namespace_marks, one_service, pod_marks, render_metadata
from conformance.intents import Inject, Intent, Mode, MtlsMode, NoInject, Scope
from conformance.settings import read_settings
from load.meshing import Meshing, Strict, Wanted

__all__ = ["forgery", "meshing", "unfit", "wanted", "words_for"]


def meshing(mesh: str | Adapter) -> Meshing:
    """How pods get into a mesh and how a namespace is made strict. UsageProblem for a mesh nobody knows."""
    adapter = load(mesh) if isinstance(mesh, str) else mesh
    space, pods = render_metadata(adapter, Inject(Scope.NAMESPACE)), pod_marks(adapter, Place("", meshed=True))
    out = render_metadata(adapter, NoInject(Scope.POD))
    return Meshing(
        adapter.name,
        namespace_labels=space.labels,
        namespace_annotations=space.annotations,
        pod_labels=pods.labels,
        pod_annotations=pods.annotations,
        outside_labels=out.labels,
        outside_annotations=out.annotations,
        proxy=adapter.proxy.container if adapter.proxy is not None else "",
        strict=lambda namespace: _strict(adapter, namespace),
        called=lambda workload: render_metadata(adapter, Inject(Scope.POD, workload)).objects,
        needs_service=space.needs_service or pods.needs_service,
    )


def _strict(adapter: Adapter, namespace: str) -> Strict:
    rendered = adapter.render(MtlsMode(namespace, Mode.STRICT))
    if isinstance(rendered, Unsupported):
        return Strict(problem=rendered.reason)
    labels, annotations = namespace_marks(rendered.merges, namespace)
    return Strict(rendered.objects, labels, annotations)


def forgery(adapter: Adapter, space: str) -> Forgery:
    """How to pass for the driver of a namespace in the eyes of the proxy before its echo."""
    driver, server = adapter.identity(space, "default"), adapter.identity(space, ECHO)
    if isinstance(driver, Unsupported) or isinstance(server, Unsupported):
        return Forgery(f"spiffe://cluster.local/ns/{space}/sa/default")
    proxy = adapter.proxy
    return Forgery(
        driver,
        (*proxy.alpn, "http/1.1") if proxy is not None and proxy.alpn else (),
        server if proxy is not None and proxy.named_by_identity else "",
    )


def unfit(adapter: Adapter) -> str:
    """Why a mesh starts no pods of the scene; "" where it does. As `conformance.ground.unfit` of the checks' pods."""
    made = inside("", "", meshing(adapter)) if one_service(adapter) else []
    services = [one for one in made if one["kind"] == "Service" and one["spec"]["selector"] == {"app": ECHO}]
    if len(services) < 2:
        return ""
    return f"the mesh starts pods of exactly one Service only, and {ECHO} of these experiments is in {len(services)}"


def words_for(adapter: Adapter, intent: Intent) -> Rendered | str:
    """An intent in the mesh's words; or why it has none."""
    rendered = adapter.render(intent)
    return rendered.reason if isinstance(rendered, Unsupported) else rendered


def wanted(mesh: str, config: Path | None, assignments: Sequence[str]) -> Wanted:
    """A mesh by its name, and what `--config` and `--set` say of it and the run; UsageProblem where that is wrong."""
    settings = read_settings(config, assignments)
    adapter = load(mesh, settings.mesh)
    return Wanted(meshing(adapter), settings.timeouts, settings.image, lambda kube: Dressed(kube, settings, adapter))
