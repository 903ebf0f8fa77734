"""The ground of a run: its cluster, the image in it and the mesh on it; made in stages, cleaned up whatever happens."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from conformance.ground import nobody_joins
from conformance.survey import remains
from fixtures.cluster import Cluster, Provider, programs
from fixtures.images import Archive, build_archive, image_reference
from fixtures.kube import Kube
from fixtures.meshes import MESHES
from meshproof_cli.images import loader, nodes_have
from meshproof_cli.plan import NONE, Plan
from meshproof_cli.refmesh_program import refmesh
from meshproof_cli.settings import adapter_of
from meshproof_cli.stages import Stages
from reports.errors import EnvironmentProblem, UsageProblem

__all__ = ["MESH_NAMESPACE", "Ground", "clean", "prepare", "program_parts"]

_NAME = re.compile(r"run-(\d+)")
MESH_NAMESPACE = "refmesh-system"


@dataclass
class Ground:
    """What has been made so far. Filled step by step, so that cleaning up knows how far it came."""

    provider: Provider
    cluster: Cluster | None = None
    kube: Kube | None = None
    image: str = ""
    installed_mesh: bool = False

    @property
    def ready(self) -> tuple[Cluster, Kube]:
        """The cluster and its client; only asked for after `prepare`."""
        if self.cluster is None or self.kube is None:
            raise RuntimeError("the ground was asked for before it was made")
        return self.cluster, self.kube

    @property
    def access(self) -> list[str]:
        """The flags that lead a program of ours to the cluster."""
        cluster, _ = self.ready
        flags = ["--kubeconfig", str(cluster.kubeconfig)]
        return [*flags, "--context", cluster.context] if cluster.context else flags


def program_parts(plan: Plan) -> list[str]:
    """The programs that must be on this machine before a run starts: what nothing of it uses need not be had."""
    parts: list[str] = []
    if plan.provider == "embedded":
        from fixtures.cluster.embedded.provider import EMBEDDED_PARTS

        parts += EMBEDDED_PARTS
    elif plan.provider == "kind":
        parts.append("kind")
    if plan.build_image:
        parts.append("toxiproxy")
    if plan.create or plan.installs_mesh:
        parts.append("gateway-api")
    if plan.create and plan.options.mesh in MESHES:
        parts.append(MESHES[plan.options.mesh].part)
    return parts


def prepare(plan: Plan, stages: Stages, ground: Ground) -> None:
    """Make the cluster, bring the image into it, install the mesh. Raises a `MeshproofError` where one cannot be."""
    missing = programs.missing(program_parts(plan))
    if missing:
        with stages.stage("programs") as shown:
            programs.ensure(missing, shown.update)
            shown.update(", ".join(missing))
    with ThreadPoolExecutor(1, "image") as pool:
        # Built while the cluster starts: both wait for other programs most of the time.
        building = pool.submit(build_archive) if plan.build_image else None
        with stages.stage("cluster") as shown:
            ground.cluster = _cluster(plan, ground.provider)
            ground.kube = Kube.connect(ground.cluster.kubeconfig, ground.cluster.context)
            shown.update(f"{plan.provider}, Kubernetes {ground.kube.version}")
        with stages.stage("image") as shown:
            ground.image = _image(plan, ground, building, shown.update)
    with stages.stage("mesh") as shown:
        _mesh(plan, ground, shown.update)


def clean(plan: Plan, ground: Ground) -> str:
    """Remove what `prepare` made; what was done, in words."""
    if ground.kube is not None:
        with suppress(Exception):  # a connection to a cluster that is about to go
            if plan.create:
                ground.kube.close()
    if plan.create:
        if ground.cluster is None:
            return "nothing to remove"
        if plan.options.keep_cluster:
            return f"kept: export KUBECONFIG={ground.cluster.kubeconfig}"
        ground.provider.delete(ground.cluster.name)
        return "cluster deleted"
    if ground.installed_mesh:
        refmesh("uninstall", "--yes", *ground.access, progress=lambda _: None)
        return "refmesh uninstalled"
    return "the cluster stays as it was"


def _cluster(plan: Plan, maker: Provider) -> Cluster:
    if not plan.create:
        return maker.create("")
    if plan.options.keep_cluster:
        return maker.create(f"kept-{os.getpid()}")
    name = f"run-{os.getpid()}"
    if plan.provider == "embedded":
        from fixtures.cluster.embedded.provider import EmbeddedProvider

        return EmbeddedProvider().create(name, ephemeral_owner=os.getpid())
    # kind knows no owner: the clusters of runs that are no more are recognised by the number in their name.
    for left in maker.list():
        found = _NAME.fullmatch(left.name)
        if found and not _runs(int(found[1])):
            maker.delete(left.name)
    return maker.create(name)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _image(plan: Plan, ground: Ground, building: Future[Archive] | None, progress: Callable[[str], None]) -> str:
    cluster, kube = ground.ready
    if building is None:
        progress(plan.options.image or "")
        return plan.options.image or ""
    if not plan.create and nodes_have(kube, image_reference()):
        progress("on every node already")
        return image_reference()
    archive = building.result()
    progress("loading")
    maker, name = (ground.provider, cluster.name) if plan.create else loader(cluster, ground.provider)
    maker.load(name, archive.path)
    progress(f"{archive.path.stat().st_size / 1e6:.0f} MB")
    return archive.reference


def _mesh(plan: Plan, ground: Ground, progress: Callable[[str], None]) -> None:
    _, kube = ground.ready
    mesh = plan.options.mesh
    if mesh == NONE:
        progress("none")
        return
    adapter = adapter_of(plan.options)
    if plan.create and mesh in MESHES:
        cluster, _ = ground.ready
        MESHES[mesh].install(cluster, lambda archive: ground.provider.load(cluster.name, archive), progress)
    elif plan.installs_mesh and (plan.create or kube.get("v1", "Namespace", MESH_NAMESPACE) is None):
        if not plan.create:
            from fixtures.cluster.existing import agree

            agree("refmesh is not on this cluster; install it, and remove it afterwards?", yes=plan.options.yes)
        defect = ["--defect", plan.options.defect] if plan.options.defect else []
        ground.installed_mesh = True
        refmesh("install", "--yes", *ground.access, "--image", ground.image, *defect, progress=progress)
    elif plan.options.defect:
        raise UsageProblem(
            "refmesh is installed on this cluster already, and a defect is switched on when it is installed",
            fix="`meshproof refmesh uninstall` first, or leave --defect out",
        )
    if problem := adapter.problem(kube):
        fix = f"install {mesh} first, or choose another cluster{remains(kube, mesh, problem)}"
        raise EnvironmentProblem(problem, fix=fix)
    why = nobody_joins(adapter)
    progress(f"{mesh} {adapter.version(kube)}{f'; no workload opts in: {why}' if why else ''}")
