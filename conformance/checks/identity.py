"""ID: a workload's certificate carries the identity that the mesh declares for it, and no other.

Two independent proofs: the certificate that a running workload shows in a handshake from outside, and what the
certificate authority signs when a caller with a valid token asks for somebody else's identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from conformance.adapters import Unsupported
from conformance.catalogue import check
from conformance.certificates import Answer, request_certificate, sans, token_for
from conformance.checks.authority import look
from conformance.checks.injection import GROUND
from conformance.context import Context, NotExpressible
from conformance.intents import CertificateRequest
from conformance.model import Judgement, failed, inconclusive, passed, proven
from reports.model import Evidence

__all__ = ["Identity", "judge_identity"]


@dataclass(frozen=True)
class Identity:
    """What was declared, what is shown, and what is signed."""

    declared: str
    other: str
    """Somebody else's identity, of the same template."""
    shown: tuple[str, ...]
    """Names in the certificate that the workload shows in a handshake."""
    honest: Answer | None
    """The authority's answer to a CSR with the workload's own identity."""
    lying: Answer | None
    """Its answer, to the same token, to a CSR with the other identity."""
    error: str = ""
    """How the handshake ended where it did not come about."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        rows = [{"asked by": "handshake with the workload", "claimed": "", "names": ", ".join(self.shown)}]
        for who, answer in (("honest CSR", self.honest), ("CSR that claims another identity", self.lying)):
            if answer is not None:
                names = ", ".join(answer.issued) or f"refused: {answer.refusal}"
                rows.append({"asked by": who, "claimed": ", ".join(answer.claimed), "names": names})
        return Evidence(f"certificates (declared identity {self.declared})", rows)


def judge_identity(history: Identity) -> Judgement:
    """Every certificate names the declared identity only; a lying request is refused or given its own identity."""
    wanted = (history.declared,)
    if history.error == "timeout":
        return inconclusive("a handshake with the workload ran into a timeout", history.evidence)
    if history.shown != wanted:
        shown = ", ".join(history.shown) or "no certificate with a name"
        return (proven if history.shown else failed)(
            f"the workload shows {shown}, declared is {history.declared}", history.evidence
        )
    if history.honest is None or history.lying is None:
        return inconclusive("the certificate authority was not asked", history.evidence)
    if history.honest.issued != wanted:
        got = ", ".join(history.honest.issued) or history.honest.refusal
        return (proven if history.honest.issued else failed)(
            f"an honest request was answered with {got}, declared is {history.declared}", history.evidence
        )
    if not history.honest.own_key:
        return proven("the certificate is not for the key that asked", history.evidence)
    if not history.lying.issued:
        return passed("own identity only; a request for another one is refused", history.evidence)
    if history.lying.issued != wanted:
        got = ", ".join(history.lying.issued)
        return proven(f"a token of {history.declared} was given a certificate for {got}", history.evidence)
    return passed("own identity only, whatever a request claims", history.evidence)


@check(
    id="ID-01",
    title="A certificate carries the declared identity, whatever its request asks for",
    proves=("identity", "certificate authority"),
    judge=judge_identity,
    ground=GROUND,
    requires=("INJ-01",),
    reference="istio.v1.auth.IstioCertificateService/CreateCertificate; SPIFFE X509-SVID",
)
def declared_identity(ctx: Context) -> Identity:
    """Ask the authority with a pod-bound token, honestly and with a lie, and shake hands with the workload."""
    pod = ctx.pod("server")
    account = str(pod.object["spec"].get("serviceAccountName", "default"))
    authority = ctx.render(CertificateRequest(pod.namespace, account)).authority
    declared = ctx.adapter.identity(pod.namespace, account)
    other = ctx.adapter.identity("kube-system", "default")
    if isinstance(declared, Unsupported) or isinstance(other, Unsupported):
        raise NotExpressible("the adapter declares no identity template")
    honest = lying = None
    if authority is not None:
        bound = (pod.name, str(pod.object["metadata"]["uid"]))
        token = token_for(ctx.kube, pod.namespace, account, bound, authority.audience)
        honest = request_certificate(ctx.kube, authority, token, (declared,))
        lying = request_certificate(ctx.kube, authority, token, (other,))
    seen = look(ctx, pod)
    shown = sans(seen.certificate) if seen.certificate else ()
    return Identity(declared, other, shown, honest, lying, seen.error)
