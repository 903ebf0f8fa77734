"""CustomResourceDefinitions of the Istio-shaped kinds.

The schemas pin down the types of the fields refmesh reads, so that the API server refuses a string where a number
belongs with its own clear message; what a field may mean is checked by `refmesh.api`. Fields refmesh does not read are
preserved: manifests written for Istio can be applied unchanged.
"""

from __future__ import annotations

from typing import Any

from refmesh.api.destination_rule import MOST_SUBSETS
from refmesh.api.istio_gateway import MOST_SERVERS
from refmesh.api.service_entry import MOST_ENDPOINTS, MOST_ENTRIES
from refmesh.install import authorization_schema
from refmesh.install.manifests import LABELS

__all__ = ["crds"]

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_INTEGER: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_BOOLEAN: Schema = {"type": "boolean"}
_DURATION: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "object", "additionalProperties": _STRING}
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def _object(**properties: Schema) -> Schema:
    return (
        {"type": "object", "properties": properties, _PRESERVE: True}
        if properties
        else {"type": "object", _PRESERVE: True}
    )


def _list(item: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": item, **({} if most is None else {"maxItems": most})}


def _destination() -> Schema:
    return _object(host=_STRING, subset=_STRING, port=_object(number=_INTEGER))


def _stream_match(**more: Schema) -> Schema:
    return _object(
        port=_INTEGER,
        gateways=_list(_STRING),
        destinationSubnets=_list(_STRING),
        sourceLabels=_STRINGS,
        sourceNamespace=_STRING,
        **more,
    )


def _virtual_service() -> Schema:
    weighted = _object(destination=_destination(), weight=_INTEGER, headers=_object())
    match = _object(
        name=_STRING, uri=_object(), headers={"type": "object", "additionalProperties": _object()}, port=_INTEGER
    )
    http = _object(
        name=_STRING,
        match=_list(match),
        route=_list(weighted),
        delegate=_object(name=_STRING, namespace=_STRING),
        timeout=_DURATION,
        retries=_object(
            attempts=_INTEGER,
            perTryTimeout=_DURATION,
            retryOn=_STRING,
            backoff=_DURATION,
            retryIgnorePreviousHosts=_BOOLEAN,
            retryRemoteLocalities=_BOOLEAN,
        ),
        directResponse=_object(status=_INTEGER, body=_object(string=_STRING, bytes=_STRING)),
        fault=_object(),
        mirror=_destination(),
    )
    return _object(
        hosts=_list(_STRING),
        gateways=_list(_STRING),
        exportTo=_list(_STRING),
        http=_list(http),
        tcp=_list(_object(match=_list(_stream_match()), route=_list(weighted))),
        tls=_list(_object(match=_list(_stream_match(sniHosts=_list(_STRING))), route=_list(weighted))),
    )


def _traffic_policy() -> Schema:
    pool = _object(
        tcp=_object(
            maxConnections=_INTEGER,
            connectTimeout=_DURATION,
            idleTimeout=_DURATION,
            maxConnectionDuration=_DURATION,
            tcpKeepalive=_object(probes=_INTEGER, time=_DURATION, interval=_DURATION),
        ),
        http=_object(
            http1MaxPendingRequests=_INTEGER,
            http2MaxRequests=_INTEGER,
            maxRequestsPerConnection=_INTEGER,
            maxRetries=_INTEGER,
            idleTimeout=_DURATION,
            h2UpgradePolicy=_STRING,
            useClientProtocol=_BOOLEAN,
            maxConcurrentStreams=_INTEGER,
            http2KeepAlive=_object(interval=_DURATION, timeout=_DURATION),
        ),
    )
    outliers = _object(
        consecutive5xxErrors=_INTEGER,
        consecutiveGatewayErrors=_INTEGER,
        interval=_DURATION,
        baseEjectionTime=_DURATION,
        maxEjectionPercent=_INTEGER,
        minHealthPercent=_INTEGER,
        outlierDetectionHttpErrorCodes=_list(_INTEGER),
    )
    tls = _object(
        mode=_STRING,
        sni=_STRING,
        subjectAltNames=_list(_STRING),
        insecureSkipVerify=_BOOLEAN,
        caCertificates=_STRING,
        clientCertificate=_STRING,
        privateKey=_STRING,
    )
    return _object(
        loadBalancer=_object(),
        connectionPool=pool,
        outlierDetection=outliers,
        tls=tls,
        retryBudget=_object(percent=_NUMBER, minRetryConcurrency=_INTEGER),
    )


def _destination_rule() -> Schema:
    subset = _object(name=_STRING, labels=_STRINGS, trafficPolicy=_traffic_policy())
    subsets = _list(subset, MOST_SUBSETS)
    return _object(host=_STRING, exportTo=_list(_STRING), trafficPolicy=_traffic_policy(), subsets=subsets)


def _gateway() -> Schema:
    port = _object(number=_INTEGER, name=_STRING, protocol=_STRING)
    tls = _object(mode=_STRING, credentialName=_STRING, httpsRedirect=_BOOLEAN)
    servers = _list(_object(port=port, hosts=_list(_STRING), tls=tls), MOST_SERVERS)
    return _object(selector=_STRINGS, servers=servers)


def _service_entry() -> Schema:
    port = _object(number=_INTEGER, name=_STRING, protocol=_STRING, targetPort=_INTEGER)
    endpoint = _object(
        address=_STRING,
        ports={"type": "object", "additionalProperties": _INTEGER},
        labels=_STRINGS,
        locality=_STRING,
        weight=_INTEGER,
    )
    return _object(
        hosts=_list(_STRING, MOST_ENTRIES),
        addresses=_list(_STRING, MOST_ENTRIES),
        ports=_list(port, MOST_ENTRIES),
        location=_STRING,
        resolution=_STRING,
        endpoints=_list(endpoint, MOST_ENDPOINTS),
        exportTo=_list(_STRING),
    )


def _peer_authentication() -> Schema:
    mode = {"type": "string", "enum": ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]}
    mtls = {"type": "object", "properties": {"mode": mode}}
    return _object(
        selector=_object(matchLabels=_STRINGS),
        mtls=mtls,
        portLevelMtls={"type": "object", "additionalProperties": mtls},
    )


def _sidecar() -> Schema:
    mode = {"type": "string", "enum": ["ALLOW_ANY", "REGISTRY_ONLY"]}
    return _object(
        workloadSelector=_object(labels=_STRINGS),
        outboundTrafficPolicy=_object(mode=mode),
        egress=_list(_object(hosts=_list(_STRING))),
    )


def _telemetry() -> Schema:
    match, providers = _object(mode=_STRING), _list(_object(name=_STRING))
    literal, named = _object(value=_STRING), _object(name=_STRING, defaultValue=_STRING)
    tag = _object(literal=literal, header=named, environment=named)
    tracing = _object(
        match=match,
        providers=providers,
        randomSamplingPercentage=_NUMBER,
        disableSpanReporting=_BOOLEAN,
        customTags={"type": "object", "additionalProperties": tag},
    )
    return _object(
        **authorization_schema.selection(),
        accessLogging=_list(
            _object(match=match, providers=providers, disabled=_BOOLEAN, filter=_object(expression=_STRING))
        ),
        tracing=_list(tracing),
    )


def _columns() -> list[dict[str, str]]:
    """What `kubectl get` shows beside the name."""
    accepted = '.status.conditions[?(@.type=="Accepted")]'
    return [
        {"name": "Accepted", "type": "string", "jsonPath": f"{accepted}.status"},
        {"name": "Reason", "type": "string", "jsonPath": f"{accepted}.reason"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def _status() -> Schema:
    """As Istio's: whoever writes it, its readers find lists of objects."""
    return _object(conditions=_list(_object()), validationMessages=_list(_object()))


def _crd(
    kind: str, plural: str, group: str, versions: tuple[str, ...], spec: Schema, short: list[str]
) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": spec, "status": _status()}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": dict(LABELS)},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": short,
                "categories": ["istio-io", group.replace(".", "-")],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    # Every version has the same fields, so any may be the stored one; Istio stores v1.
                    "storage": version == "v1",
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": schema},
                }
                for version in versions
            ],
        },
    }


def crds() -> list[dict[str, Any]]:
    """Return the definitions of the Istio-shaped kinds."""
    networking, security = ("v1", "v1beta1", "v1alpha3"), ("v1", "v1beta1")
    return [
        _crd("VirtualService", "virtualservices", "networking.istio.io", networking, _virtual_service(), ["vs"]),
        _crd("DestinationRule", "destinationrules", "networking.istio.io", networking, _destination_rule(), ["dr"]),
        _crd("Gateway", "gateways", "networking.istio.io", networking, _gateway(), ["gw"]),
        _crd("ServiceEntry", "serviceentries", "networking.istio.io", networking, _service_entry(), ["se"]),
        _crd("Sidecar", "sidecars", "networking.istio.io", networking, _sidecar(), []),
        _crd(
            "PeerAuthentication", "peerauthentications", "security.istio.io", security, _peer_authentication(), ["pa"]
        ),
        _crd(
            "AuthorizationPolicy",
            "authorizationpolicies",
            "security.istio.io",
            security,
            authorization_schema.authorization_policy(),
            ["ap"],
        ),
        _crd(
            "RequestAuthentication",
            "requestauthentications",
            "security.istio.io",
            security,
            authorization_schema.request_authentication(),
            ["ra"],
        ),
        _crd("Telemetry", "telemetries", "telemetry.istio.io", ("v1", "v1alpha1"), _telemetry(), ["telemetry"]),
    ]
