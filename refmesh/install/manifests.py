"""The objects of an installation as data: pure functions of the image and the options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refmesh.api.kinds import KINDS
from refmesh.config import admission
from refmesh.config.ingress import CONTROLLER
from refmesh.config.kept_keys import CONFIG_MAP
from refmesh.injector import policy
from refmesh.injector.containers import pulling
from refmesh.injector.templates import CONFIG_MAP as INJECTOR_TEMPLATES
from refmesh.install import templates
from refmesh.install.options import NAMESPACE, NODE_NAMESPACE, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refmesh.install.options import Options

__all__ = [
    "DEPLOYMENT",
    "LABELS",
    "MONITORING_PORT",
    "container_security",
    "control_plane",
    "deployment",
    "gateway_class",
    "namespace",
    "pod_security",
    "rbac",
    "validation",
    "webhooks",
]

Object = dict[str, Any]
DEPLOYMENT = "refmesh"
GATEWAY_CLASS = "refmesh"
LABELS = {
    "app.kubernetes.io/name": "refmesh",
    "app.kubernetes.io/part-of": "refmesh",
    "app.kubernetes.io/managed-by": "refmesh",
}
_SELECTOR = {"app": "refmesh"}
MONITORING_PORT = 15014
_PORTS = {"grpc-ads": 15011, "grpc-ca": 15012, "http-monitoring": MONITORING_PORT, "https-webhook": 15017}
_SYSTEM_NAMESPACES = ["kube-system", "kube-public", "kube-node-lease", NAMESPACE, NODE_NAMESPACE]
_NON_ROOT = 65532
_DRAIN_SECONDS = "3"
"""kube-proxy writes its rules at most once a second, and later on a busy node."""


def control_plane(
    image: str, options: Options, defect: str | None = None, given: templates.Given | None = None
) -> list[Object]:
    """Return everything but the CRDs, in an order in which each object finds what it needs."""
    given = given or templates.Given()
    others = [_service(), templates.config_map(given, LABELS), webhooks(options.failure_policy), validation()]
    workload = deployment(image, options, defect, given.mark)
    return [namespace(NAMESPACE, "restricted"), *rbac(gateways=options.gateways == "on"), *others, workload]


def _metadata(name: str, *, namespace: str | None = None, **extra: Any) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(LABELS), **extra}


def namespace(name: str, security: str) -> Object:
    """Return a namespace of refmesh's own, with the Pod Security profile that is enforced there."""
    metadata = _metadata(name)
    metadata["labels"] |= {"pod-security.kubernetes.io/enforce": security}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _rule(group: str, resources: str, verbs: str, names: str = "") -> Object:
    rule: Object = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return rule | {"resourceNames": names.split()} if names else rule


def rbac(*, gateways: bool = True) -> list[Object]:
    """Return the least that the control plane needs: read what it serves, write status, sign, keep its CA bundle."""
    api = "rbac.authorization.k8s.io"
    read = "get list watch"
    cluster_rules = [
        _rule("", "services pods namespaces", read),
        _rule("", "nodes", "list watch"),  # for their region and zone: where proxies and endpoints are
        _rule("discovery.k8s.io", "endpointslices", read),
        _rule("networking.istio.io", "virtualservices destinationrules serviceentries gateways sidecars", read),
        _rule("security.istio.io", "peerauthentications authorizationpolicies requestauthentications", read),
        _rule("telemetry.istio.io", "telemetries", read),
        *(
            _rule(group, " ".join(f"{kind.plural}/status" for kind in KINDS if kind.group == group), "patch")
            for group in sorted({kind.group for kind in KINDS if kind.of_istio})
        ),
        _rule("gateway.networking.k8s.io", "gatewayclasses gateways referencegrants", read),
        _rule("gateway.networking.k8s.io", "httproutes grpcroutes tlsroutes tcproutes", read),
        _rule(
            "gateway.networking.k8s.io",
            "gatewayclasses/status gateways/status "
            "httproutes/status grpcroutes/status tlsroutes/status tcproutes/status",
            "update patch",
        ),
        *(_gateway_rules() if gateways else ()),
        _rule("authentication.k8s.io", "tokenreviews", "create"),
        _rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "get update", policy.CONFIGURATION),
        _rule("admissionregistration.k8s.io", "validatingwebhookconfigurations", "get update", policy.VALIDATOR),
    ]
    # A create cannot be limited to a name; reading and changing can.
    local_rules = [
        _rule("", "secrets configmaps", "create"),
        _rule("", "secrets", "get update", "refmesh-ca"),
        _rule("", "secrets", "get", "cacerts"),
        _rule("", "configmaps", "get", "refmesh-ca-rotation"),
        _rule("", "configmaps", "list watch", INJECTOR_TEMPLATES),
        _rule("", "configmaps", "get update", f"refmesh-ca-root-cert {CONFIG_MAP}"),
        _rule("coordination.k8s.io", "leases", "create"),
        _rule("coordination.k8s.io", "leases", "get update", "refmesh-status"),
    ]
    subjects = [{"kind": "ServiceAccount", "name": DEPLOYMENT, "namespace": NAMESPACE}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(DEPLOYMENT, namespace=NAMESPACE)},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": _metadata("refmesh-control-plane"),
            "rules": cluster_rules,
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata("refmesh-control-plane"),
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "refmesh-control-plane"},
            "subjects": subjects,
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": _metadata("refmesh-control-plane", namespace=NAMESPACE),
            "rules": local_rules,
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": _metadata("refmesh-control-plane", namespace=NAMESPACE),
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "refmesh-control-plane"},
            "subjects": subjects,
        },
    ]


def _gateway_rules() -> list[Object]:
    """Return what it takes to open Gateways: a workload beside each, and the TLS Secrets that they name.

    Secrets can be read one by one, never listed or watched. Whoever may create Deployments could read them anyway, by
    having a pod that mounts them.
    """
    write = "create patch delete"
    return [
        _rule("", "services serviceaccounts", write),
        _rule("apps", "deployments", write),
        _rule("", "secrets", "get"),
    ]


def pod_security() -> Object:
    """Return the security context of a pod that fits the restricted profile."""
    return {
        "runAsNonRoot": True,
        "runAsUser": _NON_ROOT,
        "runAsGroup": _NON_ROOT,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    """Return the security context of such a pod's container; it writes to its volumes alone."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def gateway_class() -> Object:
    """Return the class of the Gateways that refmesh opens."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": _metadata(GATEWAY_CLASS),
        "spec": {"controllerName": CONTROLLER, "description": "refmesh opens these Gateways, with an Envoy for each."},
    }


def _service() -> Object:
    ports = [{"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in _PORTS.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(DEPLOYMENT, namespace=NAMESPACE),
        "spec": {"selector": dict(_SELECTOR), "ports": ports},
    }


def deployment(
    image: str, options: Options, defect: str | None = None, annotations: Mapping[str, str] | None = None
) -> Object:
    """Return the control plane's Deployment; its pod, with these annotations, fits the restricted profile."""
    arguments = [
        "-m",
        "refmesh.server",
        "--namespace",
        NAMESPACE,
        "--trust-domain",
        options.trust_domain,
        "--image",
        image,
        *(["--image-pull-secrets", options.image_pull_secrets] if options.image_pull_secrets else []),
        "--log-level",
        options.log_level,
        "--outbound-traffic-policy",
        options.outbound_traffic_policy,
        "--access-log",
        options.access_log,
        "--access-log-encoding",
        options.access_log_encoding,
        *([f"--access-log-format={options.access_log_format}"] if options.access_log_format else []),
        "--tracing",
        options.tracing,
        "--trace-sampling",
        options.trace_sampling,
        "--trace-b3",
        options.trace_b3,
        *(["--trace-collector", options.trace_collector] if options.trace_collector else []),
        "--gateways",
        options.gateways,
        "--ingress-gateway",
        options.ingress_gateway,
        "--sidecar",
        "classic" if options.sidecar == "classic" else "native",
        "--capture",
        options.capture,
        "--drain-seconds",
        _DRAIN_SECONDS,
        "--certificate-seconds",
        str(seconds(options.certificate_ttl)),
        "--max-certificate-seconds",
        str(seconds(options.max_certificate_ttl)),
        *(["--defect", defect] if defect else []),
    ]
    container = {
        "name": "refmesh",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python"],
        "args": arguments,
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": name, "containerPort": port} for name, port in _PORTS.items()],
        # once a second: the mesh is usable a second after the control plane, not ten
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": MONITORING_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 5,
        },
        "livenessProbe": {
            "httpGet": {"path": "/live", "port": MONITORING_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {
            "requests": {"cpu": options.cpu, "memory": options.memory},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": container_security(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  (a mount point)
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(DEPLOYMENT, namespace=NAMESPACE),
        "spec": {
            "replicas": int(options.replicas),
            "selector": {"matchLabels": dict(_SELECTOR)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": {**_SELECTOR, **LABELS, policy.POD_LABEL: "false"},
                    **({"annotations": dict(annotations)} if annotations else {}),
                },
                "spec": {
                    "serviceAccountName": DEPLOYMENT,
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": pod_security(),
                    **pulling(options.pull_secrets),
                    "containers": [container],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def webhooks(failure_policy: str = "Fail") -> Object:
    """Return the webhook configuration: one hook for opted-in namespaces, one for pods that opt in by themselves.

    The selectors decide who is affected at all: never a system namespace, so that a broken mesh cannot stop a cluster
    from healing; and where nobody opted in, a failing webhook fails nobody. The control plane adds the CA bundle.
    """
    outside = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": _SYSTEM_NAMESPACES}
    opted_in = {"key": policy.NAMESPACE_LABEL, "operator": "In", "values": ["enabled"]}
    # A namespace that says anything else keeps its pods out, whatever they say; as in Istio.
    says_nothing = {"key": policy.NAMESPACE_LABEL, "operator": "DoesNotExist"}
    out = policy.opt_out_values()
    stays = [{"key": policy.POD_LABEL, "operator": "NotIn", "values": list(out)}] if out else []
    wants = [{"key": policy.POD_LABEL, "operator": "In", "values": ["true"]}]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": _metadata(policy.CONFIGURATION),
        "webhooks": [
            _webhook("namespace.injector.refmesh.io", [opted_in, outside], stays, failure_policy),
            _webhook("pod.injector.refmesh.io", [says_nothing, outside], wants, failure_policy),
        ],
    }


def validation() -> Object:
    """Return the webhook configuration that has Istio-shaped objects judged before they are stored.

    Gateway API's are not: their conditions tell what is wrong with them, as its specification asks. While the control
    plane is away objects are stored unjudged, because reading them closes what cannot be read, and a mesh that is down
    must not keep people from writing the very objects that mend it.
    """
    kinds = [kind for kind in KINDS if kind.of_istio]
    rules = [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": [kind.plural for kind in kinds if kind.group == group],
            "scope": "Namespaced",
        }
        for group in sorted({kind.group for kind in kinds})
    ]
    hook = _webhook("validation.refmesh.io", [], [], "Ignore")
    service = hook["clientConfig"]["service"] | {"path": admission.PATH}
    del hook["reinvocationPolicy"]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": _metadata(policy.VALIDATOR),
        "webhooks": [hook | {"clientConfig": {"service": service}, "rules": rules, "timeoutSeconds": 3}],
    }


def _webhook(name: str, namespaces: list[Object], pods: list[Object], failure_policy: str) -> Object:
    return {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": DEPLOYMENT, "namespace": NAMESPACE, "path": "/inject", "port": 15017}},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }
        ],
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
        # By default no pod, and an event with why: without its proxy it would speak plaintext where mTLS was asked for.
        "failurePolicy": failure_policy,
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }
