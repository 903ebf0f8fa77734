"""What `--set` and `--config` say, as the stages of a run need it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reports.errors import UsageProblem

if TYPE_CHECKING:
    from conformance.adapters import Adapter
    from conformance.settings import RunSettings
    from fixtures.kube import Kube
    from meshproof_cli.plan import Options

__all__ = ["AUTO", "adapter_of", "existing_cluster", "found_mesh", "setting_flags", "settings_of"]


AUTO = "auto"
"""Instead of a mesh's name: whichever one the cluster has."""


def settings_of(options: Options) -> RunSettings:
    """The settings of a run. `UsageProblem` for a wrong one."""
    from conformance.settings import read_settings

    return read_settings(options.config, options.assignments)


def found_mesh(options: Options) -> Options:
    """The options with the mesh that the cluster has in place of `auto`, and its settings where the user says none.

    `UsageProblem` without an existing cluster, `EnvironmentProblem` unless it has exactly one mesh.
    """
    from conformance.settings import unsaid
    from conformance.survey import only_mesh

    if not options.existing:
        raise UsageProblem(
            "--mesh auto looks at a cluster that exists, and none is named",
            fix="give --kubeconfig or --context",
        )
    kube = existing_cluster(options.kubeconfig, options.context)
    try:
        found = only_mesh(kube)
    finally:
        kube.close()
    settings = unsaid(found.settings, options.config, options.assignments)
    return replace(options, mesh=found.mesh, assignments=(*settings, *options.assignments))


def existing_cluster(kubeconfig: Path | None, context: str | None) -> Kube:
    """The cluster of a kubeconfig; None: kubectl's own. `UsageProblem` where that leads to none."""
    from fixtures.cluster import provider
    from fixtures.kube import Kube

    cluster = provider("existing", kubeconfig=kubeconfig, context=context).create("")
    return Kube.connect(cluster.kubeconfig, cluster.context)


def adapter_of(options: Options) -> Adapter:
    """The adapter of the run's mesh, with what the user says of that mesh."""
    from conformance.adapters import load

    return load(options.mesh, settings_of(options).mesh)


def setting_flags(options: Options) -> list[str]:
    """The flags that hand the same settings to another program of ours."""
    flags = ["--config", str(options.config.resolve())] if options.config else []
    for assignment in options.assignments:
        flags += ["--set", assignment]
    if (said := settings_of(options)).uninstall:  # it may name a file where the user is; that program is elsewhere
        flags += ["--set", f"uninstall-in={Path.cwd() / said.uninstall_in}"]
    return flags
