"""What can be found wrong before anything is made: each with one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

from fixtures.cluster.existing import ExistingProvider
from fixtures.images.build import check as image_check
from fixtures.paths import cache_dir, state_dir
from meshproof_cli.images import expect_a_way
from meshproof_cli.plan import Plan
from meshproof_cli.refmesh_program import defects
from meshproof_cli.settings import existing_cluster
from reports.choice import choose
from reports.errors import EnvironmentProblem, UsageProblem

__all__ = ["check", "check_words"]

_ROOM = {"embedded": 2_000, "kind": 4_000, "existing": 200}
"""Free megabytes that a run needs for images and the cluster's files."""


def check(plan: Plan) -> None:
    """Raise the first problem there is: an unknown defect, no room, a machine or a cluster that will not do."""
    check_words(plan)
    for place in (cache_dir(), state_dir()):
        _room(place, _ROOM[plan.provider])
    if plan.provider == "existing":
        _existing(plan)
    elif plan.provider == "kind":
        from fixtures.cluster.kind.provider import check as engine_check

        engine_check()
    elif plan.provider == "embedded":
        from fixtures.cluster.embedded.preflight import check as machine_check

        machine_check()


def _existing(plan: Plan) -> None:
    if plan.build_image:
        image_check()
    place = plan.options.kubeconfig, plan.options.context
    kube = existing_cluster(*place)
    try:
        if plan.build_image:
            expect_a_way(kube, ExistingProvider(*place).create())
    finally:
        kube.close()


def check_words(plan: Plan) -> None:
    """Raise `UsageProblem` for a word that means nothing here.

    That is a defect that refmesh does not know, or an earlier report that this run would replace.
    """
    earlier, target = plan.options.rerun_failed, plan.options.report_dir.resolve()
    if earlier is not None and target in (earlier.resolve(), *earlier.resolve().parents):
        raise UsageProblem(
            f"the new report would replace {earlier}, the one that --rerun-failed names",
            fix="name another place with --report-dir",
        )
    if plan.options.defect is not None:
        choose(
            plan.options.defect, [str(one["name"]) for one in defects()], "defect", "see `meshproof refmesh defects`"
        )


def _room(place: Path, megabytes: int) -> None:
    existing = next(path for path in (place, *place.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free // 1_000_000
    if free < megabytes:
        raise EnvironmentProblem(
            f"only {free} MB are free for {place}, and a run needs {megabytes} MB",
            fix="free some space, or set XDG_CACHE_HOME and XDG_STATE_HOME to a disk with room",
        )
