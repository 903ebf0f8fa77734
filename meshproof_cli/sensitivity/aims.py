"""What each check is for: the seeded defects that it must find, and why some find none. Data, held against both lists.

Asked first, these checks say whether the suite sees what it was built to see; whatever else finds a defect is a gain.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["AIMS", "EXCUSED", "SAYS", "UNSEEN", "aimed"]

AIMS: Mapping[str, tuple[str, ...]] = {
    "opt-in-ignored": ("INJ-01",),
    "opt-out-ignored": ("INJ-02",),
    "pod-opt-in-ignored": ("INJ-03",),
    "everybody-injected": ("INJ-04",),
    "probes-broken-under-strict": ("INJ-05",),
    "sidecar-outlives-app": ("INJ-06",),
    "proxy-after-app": ("INJ-07",),
    "init-uncaptured": ("INJ-08",),
    "host-network-injected": ("INJ-09",),
    "double-injection": ("INJ-10",),
    "injector-opens-on-leaving": ("INJ-11",),
    "port-excluded": ("INJ-12",),
    "injection-error-hidden": ("INJ-13",),
    "app-resources-changed": ("INJ-14",),
    "client-speaks-plaintext": ("MTLS-01",),
    "strict-served-as-permissive": ("MTLS-02",),
    "permissive-served-as-strict": ("MTLS-03",),
    "port-override-ignored": ("MTLS-04",),
    "strict-for-http-only": ("MTLS-05",),
    "any-authority-trusted": ("MTLS-06",),
    "server-identity-ignored": ("MTLS-07",),
    "mode-changes-by-a-detour": ("MTLS-08",),
    "old-tls-allowed": ("MTLS-09",),
    "peer-header-kept": ("MTLS-10",),
    "expiry-unchecked": (
        "MTLS-11",
        "ID-06",
    ),
    "mesh-wide-mtls-ignored": ("MTLS-12",),
    "san-from-csr": ("ID-01",),
    "renewal-disabled": ("ID-02",),
    "issuer-cached-forever": ("ID-03",),
    "old-root-dropped-early": ("ID-03",),
    "one-identity-a-namespace": ("ID-04",),
    "control-plane-loss-stops-traffic": ("LC-03",),
    "key-in-a-secret": ("ID-07",),
    "certificate-lifetime-uncapped": ("ID-08",),
    "csr-signature-unchecked": ("ID-08",),
    "invalid-token-accepted": ("ID-08",),
    "leaf-may-sign": ("ID-08",),
    "token-audience-unchecked": ("ID-08",),
    "xds-identity-unchecked": ("ID-09",),
    "nack-ignored": ("TEL-07",),
    "empty-rules-allow-all": ("AZ-01",),
    "allowed-identity-refused": ("AZ-02",),
    "account-ignored": ("AZ-03",),
    "deny-after-allow": ("AZ-04",),
    "namespace-by-prefix": ("AZ-05",),
    "dot-as-regex": ("AZ-06",),
    "policy-port-ignored": ("AZ-07",),
    "rights-kept-by-open-connections": ("AZ-08",),
    "invalid-object-accepted": ("AZ-09",),
    "dot-segments-kept": ("AZ-10",),
    "host-case-compared": ("AZ-10",),
    "repeated-header-joined": ("AZ-11",),
    "token-expiry-unchecked": ("AZ-12",),
    "escaped-slashes-kept": ("AZ-13",),
    "path-parameters-compared": ("AZ-13",),
    "slashes-not-merged": ("AZ-13",),
    "exact-header-as-prefix": ("RT-01",),
    "header-case-ignored": ("RT-01",),
    "last-match-wins": ("RT-01",),
    "prefix-splits-segment": ("RT-01",),
    "no-match-forwarded": ("RT-02",),
    "unresolved-backend-answered": ("RT-03",),
    "header-add-overwrites": ("RT-04",),
    "rewrite-dropped": ("RT-05",),
    "redirect-wrong-port": ("RT-06",),
    "specificity-ignored": ("RT-07",),
    "parent-port-ignored": ("RT-08",),
    "consumer-route-leaks": ("RT-09",),
    "reference-grant-unchecked": ("RT-10",),
    "status-always-true": ("RT-11",),
    "bad-object-blocks-all": ("RT-12",),
    "mirror-response-returned": ("RT-13",),
    "upgrades-refused": ("RT-14",),
    "route-leaks-to-neighbours": ("RT-15",),
    "never-heals-after-rejection": ("RT-16",),
    "percent-unescaped": ("RT-16",),
    "weights-off-by-5": (
        "WT-01",
        "WT-05",
    ),
    "zero-weight-served": ("WT-02",),
    "changed-route-deleted-first": ("WT-03",),
    "grpc-per-connection": ("WT-04",),
    "empty-backend-left-out": ("WT-06",),
    "route-changes-late": ("WT-07",),
    "nonces-confused": ("LB-02",),
    "split-leaks-to-parent": ("WT-08",),
    "weights-off-by-2": ("WT-09",),
    "route-before-cluster": ("WT-10",),
    "outlier-detection-ignored": (
        "CB-01",
        "CB-04",
    ),
    "ejection-too-short": ("CB-02",),
    "ejected-host-never-returns": ("CB-03",),
    "outlier-maximum-ignored": ("CB-04",),
    "connection-limit-ignored": ("CB-05",),
    "cap-refuses-all": ("CB-06",),
    "ejection-caps-the-others": ("CB-07",),
    "refusals-uncounted": ("CB-08",),
    "ejected-below-threshold": ("CB-09",),
    "retries-dropped": ("RS-01",),
    "retries-unlimited": ("RS-02",),
    "posts-retried": ("RS-03",),
    "timeout-times-1000": ("RS-04",),
    "timeout-times-3": ("RS-04",),
    "per-try-limit-dropped": ("RS-05",),
    "per-try-limit-times-3": ("RS-05",),
    "fault-on-wrong-route": ("RS-06",),
    "delay-dropped": ("RS-07",),
    "retry-budget-ignored": ("RS-08",),
    "round-robin-drawn": ("LB-01",),
    "version-unchanged": ("LB-01",),
    "hash-key-ignored": ("LB-02",),
    "locality-ignored": ("LB-03",),
    "not-ready-endpoints-included": ("LB-04",),
    "endpoints-emptied-on-watch-error": ("LB-04",),
    "deleted-endpoint-kept": ("LB-05",),
    "clients-do-not-count": ("TEL-01",),
    "requests-counted-twice": ("TEL-02",),
    "source-label-wrong": ("TEL-03",),
    "trace-context-not-forwarded": ("TEL-04",),
    "access-log-lost": ("TEL-05",),
    "strict-uncounted": ("TEL-06",),
    "gateway-answers-every-host": ("GW-01",),
    "gateway-speaks-plaintext": (
        "GW-01",
        "GW-02",
    ),
    "gateway-always-allowed": ("GW-03",),
    "gateway-certificate-ignored": ("GW-04",),
    "registry-only-ignored": ("GW-05",),
    "no-drain": (
        "LC-01",
        "LC-02",
    ),
    "leaving-unnoticed": ("LC-05",),
    "crashed-proxy-stays-away": ("LC-04",),
    "uninstall-leaves-webhook": ("LC-06",),
    "deleted-configuration-kept": ("LC-07",),
}
"""Defect -> the checks that must find it."""

EXCUSED: Mapping[str, str] = {
    "ID-05": "a proxy that ends with the control plane fails it only while the client's short certificate is good for"
    " sure: on refmesh that is over before the control plane is gone, and LC-03 finds the defect",
    "RS-09": "refmesh has no rate limits: the check is declared unsupported there, so nothing can be seeded",
}
"""Check that no defect is seeded for -> why."""

UNSEEN: Mapping[str, str] = {}
"""Defect that no check can find from outside -> why."""

SAYS: Mapping[str, str] = {"never-heals-after-rejection": "no change of another after it"}
"""Defect that needs another one to show -> what a check says of this one."""


def aimed(defect: str) -> tuple[str, ...]:
    """The checks that must find a defect."""
    return AIMS.get(defect, ())
