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
from refmesh.install.schemas import BOOLEAN, INTEGER, NUMBER, STRING, Schema, array, mapping

__all__ = ["crds"]

_DURATION = STRING
_STRINGS: Schema = {"type": "object", "additionalProperties": STRING}


def _destination() -> Schema:
    return mapping(host=STRING, subset=STRING, port=mapping(number=INTEGER))


def _stream_match(**more: Schema) -> Schema:
    return mapping(
        port=INTEGER,
        gateways=array(STRING),
        destinationSubnets=array(STRING),
        sourceLabels=_STRINGS,
        sourceNamespace=STRING,
        **more,
    )


def _virtual_service() -> Schema:
    weighted = mapping(destination=_destination(), weight=INTEGER, headers=mapping())
    match = mapping(
        name=STRING, uri=mapping(), headers={"type": "object", "additionalProperties": mapping()}, port=INTEGER
    )
    http = mapping(
        name=STRING,
        match=array(match),
        route=array(weighted),
        delegate=mapping(name=STRING, namespace=STRING),
        timeout=_DURATION,
        retries=mapping(
            attempts=INTEGER,
            perTryTimeout=_DURATION,
            retryOn=STRING,
            backoff=_DURATION,
            retryIgnorePreviousHosts=BOOLEAN,
            retryRemoteLocalities=BOOLEAN,
        ),
        directResponse=mapping(status=INTEGER, body=mapping(string=STRING, bytes=STRING)),
        fault=mapping(),
        mirror=_destination(),
    )
    return mapping(
        hosts=array(STRING),
        gateways=array(STRING),
        exportTo=array(STRING),
        http=array(http),
        tcp=array(mapping(match=array(_stream_match()), route=array(weighted))),
        tls=array(mapping(match=array(_stream_match(sniHosts=array(STRING))), route=array(weighted))),
    )


def _traffic_policy() -> Schema:
    pool = mapping(
        tcp=mapping(
            maxConnections=INTEGER,
            connectTimeout=_DURATION,
            idleTimeout=_DURATION,
            maxConnectionDuration=_DURATION,
            tcpKeepalive=mapping(probes=INTEGER, time=_DURATION, interval=_DURATION),
        ),
        http=mapping(
            http1MaxPendingRequests=INTEGER,
            http2MaxRequests=INTEGER,
            maxRequestsPerConnection=INTEGER,
            maxRetries=INTEGER,
            idleTimeout=_DURATION,
            h2UpgradePolicy=STRING,
            useClientProtocol=BOOLEAN,
            maxConcurrentStreams=INTEGER,
            http2KeepAlive=mapping(interval=_DURATION, timeout=_DURATION),
        ),
    )
    outliers = mapping(
        consecutive5xxErrors=INTEGER,
        consecutiveGatewayErrors=INTEGER,
        interval=_DURATION,
        baseEjectionTime=_DURATION,
        maxEjectionPercent=INTEGER,
        minHealthPercent=INTEGER,
        outlierDetectionHttpErrorCodes=array(INTEGER),
    )
    tls = mapping(
        mode=STRING,
        sni=STRING,
        subjectAltNames=array(STRING),
        insecureSkipVerify=BOOLEAN,
        caCertificates=STRING,
        clientCertificate=STRING,
        privateKey=STRING,
    )
    return mapping(
        loadBalancer=mapping(),
        connectionPool=pool,
        outlierDetection=outliers,
        tls=tls,
        retryBudget=mapping(percent=NUMBER, minRetryConcurrency=INTEGER),
    )


def _destination_rule() -> Schema:
    subset = mapping(name=STRING, labels=_STRINGS, trafficPolicy=_traffic_policy())
    subsets = array(subset, MOST_SUBSETS)
    return mapping(host=STRING, exportTo=array(STRING), trafficPolicy=_traffic_policy(), subsets=subsets)


def _gateway() -> Schema:
    port = mapping(number=INTEGER, name=STRING, protocol=STRING)
    tls = mapping(mode=STRING, credentialName=STRING, httpsRedirect=BOOLEAN)
    servers = array(mapping(port=port, hosts=array(STRING), tls=tls), MOST_SERVERS)
    return mapping(selector=_STRINGS, servers=servers)


def _service_entry() -> Schema:
    port = mapping(number=INTEGER, name=STRING, protocol=STRING, targetPort=INTEGER)
    endpoint = mapping(
        address=STRING,
        ports={"type": "object", "additionalProperties": INTEGER},
        labels=_STRINGS,
        locality=STRING,
        weight=INTEGER,
    )
    return mapping(
        hosts=array(STRING, MOST_ENTRIES),
        addresses=array(STRING, MOST_ENTRIES),
        ports=array(port, MOST_ENTRIES),
        location=STRING,
        resolution=STRING,
        endpoints=array(endpoint, MOST_ENDPOINTS),
        exportTo=array(STRING),
    )


def _peer_authentication() -> Schema:
    mode = {"type": "string", "enum": ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]}
    mtls = {"type": "object", "properties": {"mode": mode}}
    return mapping(
        selector=mapping(matchLabels=_STRINGS),
        mtls=mtls,
        portLevelMtls={"type": "object", "additionalProperties": mtls},
    )


def _sidecar() -> Schema:
    mode = {"type": "string", "enum": ["ALLOW_ANY", "REGISTRY_ONLY"]}
    return mapping(
        workloadSelector=mapping(labels=_STRINGS),
        outboundTrafficPolicy=mapping(mode=mode),
        egress=array(mapping(hosts=array(STRING))),
    )


def _telemetry() -> Schema:
    match, providers = mapping(mode=STRING), array(mapping(name=STRING))
    literal, named = mapping(value=STRING), mapping(name=STRING, defaultValue=STRING)
    tag = mapping(literal=literal, header=named, environment=named)
    tracing = mapping(
        match=match,
        providers=providers,
        randomSamplingPercentage=NUMBER,
        disableSpanReporting=BOOLEAN,
        customTags={"type": "object", "additionalProperties": tag},
    )
    return mapping(
        **authorization_schema.selection(),
        accessLogging=array(
            mapping(match=match, providers=providers, disabled=BOOLEAN, filter=mapping(expression=STRING))
        ),
        tracing=array(tracing),
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
    return mapping(conditions=array(mapping()), validationMessages=array(mapping()))


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
