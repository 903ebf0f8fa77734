"""MTLS-12: modes of the mesh, of a namespace and of a workload. It makes all of the mesh strict for seconds."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial

from conformance.catalogue import check
from conformance.checks.mtls_judges import by_application
from conformance.checks.peers_judges import arm
from conformance.checks.upheaval import ATTEMPTS, BACK_SECONDS, GROUND, served
from conformance.checks.upheaval_judges import Level, Levels, judge_levels
from conformance.context import LIMITS, Context
from conformance.intents import MeshMtlsMode, Mode, MtlsMode
from conformance.mesh_policies import in_the_way, marked
from conformance.putting import put
from fixtures.workloads.traffic import Batch
from reports.errors import EnvironmentProblem

__all__: list[str] = []


@check(
    id="MTLS-12",
    title="A workload's mode beats its namespace's, and that the mesh's",
    proves=("mtls", "strict", "permissive", "precedence"),
    judge=judge_levels,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def levels(ctx: Context) -> Levels:
    """Strict for the mesh, permissive for the namespace, strict for the workload: plaintext tells which is in force.

    Before that, permissive for the mesh: one that is strict by itself refuses plaintext whatever is said for all of it.
    """
    server, space = ctx.pod("server"), ctx.space("in")
    steps = (
        ("mesh permissive", MeshMtlsMode(Mode.PERMISSIVE), "taken"),
        ("mesh strict", MeshMtlsMode(Mode.STRICT), "refused"),
        ("mesh strict, namespace permissive", MtlsMode(space, Mode.PERMISSIVE), "taken"),
        ("mesh strict, namespace permissive, workload strict", MtlsMode(space, Mode.STRICT, "server"), "refused"),
    )
    plain = Batch(url=ctx.url("server"), count=ATTEMPTS, concurrency=4, timeout=LIMITS.probe, fresh=True)
    found = []
    mesh_wide = marked(ctx.render(steps[0][1]).objects, ctx.run)
    if others := in_the_way(ctx.kube, mesh_wide):
        what = f"{', '.join(others)} holds for the whole mesh already, and is not touched"
        raise EnvironmentProblem(f"{what}: judge this on a cluster without it, or leave it out by --skip MTLS-12")
    # Another check of this ground may have left the proxies without a certificate that is good yet.
    ctx.until(partial(served, ctx, plain), "the meshed client is served before any policy", BACK_SECONDS)
    try:
        for policies, intent, wanted in steps:
            if isinstance(intent, MtlsMode):
                ctx.apply(intent)
            else:
                mesh_wide = marked(ctx.render(intent).objects, ctx.run)
                ctx.applied.extend(mesh_wide)
                for policy in mesh_wide:
                    put(ctx.kube, policy)

            def shows(wanted: str = wanted) -> bool:
                records = ctx.outsider().batch(replace(plain, count=3))
                return all(by_application(one) is (wanted == "taken") for one in records)

            ctx.watch(shows, LIMITS.in_force)
            token = f"mark-{secrets.token_hex(12)}"
            named = replace(plain, method="POST", body=token)
            seen = ctx.sniff(server, 8080, token, partial(ctx.outsider().batch, named))
            meshed = arm(policies, ctx.client().batch(replace(plain, timeout=LIMITS.request)), 0, welcome=True)
            plaintext = arm(policies, seen["records"], 0, welcome=wanted == "taken")
            found.append(
                Level(
                    policies,
                    wanted,
                    sent=ATTEMPTS,
                    answered=plaintext.answered,
                    clear=int(seen.get("plaintext_hits", 0)),
                    meshed=meshed.answered,
                    ends=plaintext.ends,
                    meshed_late=meshed.late,
                )
            )
    finally:
        ctx.remove(*mesh_wide)
    return Levels(tuple(found))
