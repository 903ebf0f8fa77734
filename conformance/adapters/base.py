"""What an adapter is: it renders intents into a mesh's own objects, or says that the mesh cannot express them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from conformance.intents import Intent
from fixtures.kube import Kube

__all__ = ["Adapter", "Authority", "Exposition", "Manifest", "Proxy", "Rendered", "Rival", "Unsupported", "for_all"]

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Authority:
    """Where a mesh's certificate authority listens: Istio's CreateCertificate over TLS with a bearer token."""

    namespace: str
    selector: str
    """Label selector of its pods."""
    port: int
    """Container port."""
    audience: str
    """Audience of the service-account token it wants."""
    server_name: str
    """The DNS name in its own certificate."""
    roots: tuple[str, str, str]
    """ConfigMap with its root certificates: namespace, name, key."""
    shortest: int = 60
    """The shortest lifetime that it signs, seconds."""
    longest: int = 90 * 86_400
    """The longest that it may sign whatever it is asked for, seconds."""
    discovery: int | None = None
    """Container port at which the same pods serve delta xDS over mutual TLS; None where they do not."""
    rejections: tuple[int, str, str] | None = None
    """Where the same pods count what proxies reject: container port, path, name of the counter; None: nowhere."""
    apart: bool = False
    """Whether it is another program than the control plane, which signs on when that is taken away."""


@dataclass(frozen=True)
class Proxy:
    """The sidecar that a mesh puts into pods, or what stands in for one there."""

    container: str
    """Name of its container, a native sidecar (among the init containers) or not; "" where it runs outside of them."""
    admin_port: int | None = None
    """Envoy's admin port on the pod's loopback; None where it has none."""
    alpn: tuple[str, ...] = ()
    """Protocols offered in a handshake by which it knows the mesh's own TLS from an application's; () where any is."""
    named_by_identity: bool = False
    """Whether it takes a handshake for the mesh's own only where the server name is the workload's identity."""
    inbound_port: int | None = None
    """Port of the pod's address to which other proxies bring its traffic; None: to the application's own port."""
    shakes_there: bool = False
    """Whether it takes a stranger's handshake at that port alone: where plaintext is let in as well, it may hand on
    unopened what comes to the application's."""


@dataclass(frozen=True)
class Exposition:
    """Where a proxy tells its metrics, in Prometheus' text format, and how it names them."""

    port: int
    """On the pod's address."""
    path: str
    requests: str
    """The counter of requests; the fields below name its labels."""
    at_client: Mapping[str, str]
    """Labels of what the client's proxy counted."""
    at_server: Mapping[str, str]
    """Labels of what the server's proxy counted."""
    service: str
    """Its value is the full name of the service, as DNS has it."""
    code: str
    source: str
    """Its value is the client's workload."""
    source_identity: str
    """Its value is the client's identity, as certificates carry it."""
    destination: str
    """Its value is the server's workload."""
    overflow: Mapping[str, str]
    """Labels of what a proxy refused because a cap on connections or requests was reached."""


@dataclass(frozen=True)
class Rival:
    """Where policies of the user's for the whole mesh may be that keep an intent from holding, beside its objects."""

    api_version: str
    kind: str
    namespace: str
    undoes: Callable[[Manifest], bool]
    """Whether a policy does, by what it says."""


def for_all(policy: Manifest) -> bool:
    """Whether a policy of a mesh's root namespace names no workload, and so holds for all of them."""
    spec = policy.get("spec") or {}
    target = spec.get("targetRef") or {}
    named = (spec.get("selector") or {}).get("matchLabels") or {"labels", "name", "tags"} & target.keys()
    return not named and not spec.get("targetRefs")


@dataclass(frozen=True)
class Rendered:
    """An intent in a mesh's words."""

    objects: tuple[Manifest, ...] = ()
    merges: tuple[Manifest, ...] = ()
    """Parts of objects that exist already (a Service's annotations, say): merged into them, nothing else is changed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    per_node: bool = False
    """Of an opt-in: the mesh does its work outside of the pods, and changes none."""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    """Of a pod's opt-in: what its namespace must say for the pod to be asked at all. No opt-in of the namespace's."""
    needs_service: bool = False
    """Of an opt-in: every pod must belong to a Service, clients included, and run as the account of its name."""
    one_service: bool = False
    """Of an opt-in: and to no more than one; grounds with other pods cannot be created, and their checks say so."""
    one_port: int = 0
    """Of an opt-in: the only port of a pod that the mesh knows; 0 where it knows all."""
    needs_token: bool = False
    """Of an opt-in: its pods must have the token of their service account mounted, which the proxy shows the mesh."""
    app_protocols: Mapping[str, str] = field(default_factory=dict)
    """Of an opt-in: what ports of Services say in `appProtocol`, by protocol ("http", "grpc"; "": nothing); others the
    protocol itself."""
    exports: str = ""
    """Of an opt-in: the annotation in which a Service lists, parted by commas, the namespaces whose proxies are told of
    it. It has those that the checks call it from, so that no other workload of a cluster takes in what a run makes; ""
    where a mesh always tells all."""
    authority: Authority | None = None
    rivals: tuple[Rival, ...] = ()
    """None of them may be there, or nothing can be judged of the intent."""
    drops: bool = False
    """Of a policy: what it denies is dropped without an answer, so that whoever asks runs into a timeout."""
    header: str = ""
    """A request header's name, where the intent asks for one."""
    exposition: Exposition | None = None
    account: str = ""
    """Service account of a gateway's proxies, in its namespace; "" where that cannot be told."""


@dataclass(frozen=True)
class Unsupported:
    """The mesh declares that it cannot express an intent, and why."""

    reason: str


@runtime_checkable
class Adapter(Protocol):
    """One mesh, as the checks see it. Third parties offer theirs by an entry point of group `meshproof.adapters`.

    The entry point names a class or function that is called without arguments and returns an adapter. If it has an
    attribute `Settings`, a model derived from `conformance.adapters.settings.Settings`, it is called with one of those
    instead: what the user said with `--set` and `--config`.
    """

    @property
    def name(self) -> str:
        """What the user types after `--mesh`."""
        ...

    @property
    def title(self) -> str:
        """Name for people, one line."""
        ...

    @property
    def proxy(self) -> Proxy | None:
        """The sidecar; None where the mesh has none."""
        ...

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """The intent in the mesh's words. Pure: no cluster is asked."""
        ...

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """The URI or DNS name that a workload's certificate must carry, and no other."""
        ...

    def control_plane(self) -> tuple[str, str] | None:
        """Namespace and name of the control plane's Deployment; None where there is none."""
        ...

    def version(self, kube: Kube) -> str:
        """The installed version, "" where none is found. Reads only."""
        ...

    def problem(self, kube: Kube) -> str:
        """Why the mesh cannot be judged (not installed, not serving), "" where it can. Reads only."""
        ...

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """Files for a failure's bundle: the proxy's configuration and statistics by file name. Reads only."""
        ...
