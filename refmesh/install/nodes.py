"""The agents on the nodes: their objects as data, on and off the cluster, and which nodes lack one.

They are the one privileged part of refmesh, there only where `--set capture=node` asks for it, and in a namespace of
their own: the control plane's stays restricted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from refmesh.errors import EnvironmentProblem
from refmesh.injector.containers import pulling
from refmesh.injector.patch import TLS_MODE_LABEL
from refmesh.injector.policy import POD_LABEL
from refmesh.install.apply import apply, delete, is_mine, plural_of, wait_gone
from refmesh.install.manifests import LABELS, namespace
from refmesh.install.options import NODE_NAMESPACE, Options
from refmesh.install.rollout import remove_stuck_pods, unless_stuck
from refmesh.install.serving import is_ready
from refmesh.node.wanted import wanted

if TYPE_CHECKING:
    from refmesh.kubeclient import Kube

__all__ = [
    "APP",
    "CONTAINER",
    "NAME",
    "cluster_wide",
    "lacking",
    "node_objects",
    "preflight",
    "put",
    "remove",
    "wait",
    "wait_removed",
    "waiting",
]

Object = dict[str, Any]
NAME = "refmesh-node"
APP = "refmesh-node"
"""Value of the label `app` of the agents' pods."""
CONTAINER = "agent"
_PORT = 15022
_LABELS = {**LABELS, "app.kubernetes.io/name": NAME}
_SELECTOR = {"app": APP}
_GONE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_OS = "kubernetes.io/os"
_PRIORITY = "system-node-critical"
_MARK = "refmesh.io/template"
"""Annotation of the agents' pods: by it those of this install are told from those before."""
_HOME = ("v1", "namespaces", NODE_NAMESPACE)


def node_objects(image: str, options: Options) -> list[Object]:
    """Everything that the agents need, each after what it needs, the DaemonSet last; nothing if they are not wanted."""
    if options.capture != "node":
        return []
    return [namespace(NODE_NAMESPACE, "privileged"), *_rbac(), _quota(), _daemon_set(image, options)]


def cluster_wide() -> list[Object]:
    """What the agents may have outside of their namespace, to be deleted by its name."""
    return [obj for obj in _rbac() if "namespace" not in obj["metadata"]]


def _metadata(name: str, **extra: str) -> Object:
    return {"name": name, **extra, "labels": dict(_LABELS)}


def _rbac() -> list[Object]:
    """Return the right to see pods, and no other. An agent asks for those of its node; RBAC cannot say that."""
    api = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(NAME, namespace=NODE_NAMESPACE)},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": _metadata(NAME),
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(NAME),
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NODE_NAMESPACE}],
        },
    ]


def _quota() -> Object:
    """Return the leave to have pods of the agents' priority, which some clusters give to kube-system alone."""
    scope = {"operator": "In", "scopeName": "PriorityClass", "values": [_PRIORITY]}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": _metadata(NAME, namespace=NODE_NAMESPACE),
        "spec": {"hard": {"pods": "5000"}, "scopeSelector": {"matchExpressions": [scope]}},
    }


def _daemon_set(image: str, options: Options) -> Object:
    page = {"path": "/ready", "port": _PORT}
    container = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "refmesh.node", "--http-port", str(_PORT), "--log-level", options.log_level],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "ports": [{"name": "http-monitoring", "containerPort": _PORT}],
        "readinessProbe": {"httpGet": page, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 5},
        "livenessProbe": {
            "httpGet": page | {"path": "/live"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            # To see which network a process has, to go there, and to write rules: with nf_tables, or as it was before.
            "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE", "SYS_ADMIN", "NET_ADMIN", "NET_RAW"]},
            "seccompProfile": {"type": "RuntimeDefault"},
            # Under the runtime's profile it could look at no process that has another one.
            "appArmorProfile": {"type": "Unconfined"},
        },
        # iptables takes a lock in /run; the root file system is read-only
        "volumeMounts": [{"name": "run", "mountPath": "/run"}],
    }
    # Before Kubernetes 1.30 AppArmor's profile was said like this.
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(_PORT),
        f"container.apparmor.security.beta.kubernetes.io/{CONTAINER}": "unconfined",
    }
    template = {
        "metadata": {"labels": {**_LABELS, **_SELECTOR, POD_LABEL: "false"}, "annotations": annotations},
        "spec": {
            "serviceAccountName": NAME,
            "hostPID": True,
            "nodeSelector": {_OS: "linux"},
            # On every node on which an injected pod may be, and before it.
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": _PRIORITY,
            "terminationGracePeriodSeconds": 10,
            **pulling(options.pull_secrets),
            "containers": [container],
            "volumes": [{"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        },
    }
    annotations[_MARK] = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _metadata(NAME, namespace=NODE_NAMESPACE),
        "spec": {
            "selector": {"matchLabels": dict(_SELECTOR)},
            # One node after the other would take an hour where there are hundreds; an agent is away for seconds.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
            "template": template,
        },
    }


async def preflight(kube: Kube, options: Options) -> None:
    """Raises `EnvironmentProblem` where the agents' namespace is somebody else's."""
    if options.capture == "node" and (there := await kube.get(*_HOME)) is not None and not is_mine(there):
        raise EnvironmentProblem(
            f"The namespace {NODE_NAMESPACE} is somebody else's, and the agents of capture=node belong there.",
            fix="Delete it, or leave --set capture=node out.",
        )
    if options.capture == "node":
        await wait_removed(kube)  # nothing can be made in a namespace that is on its way out


async def put(kube: Kube, image: str, options: Options) -> Object | None:
    """Apply the agents if they are wanted; the DaemonSet to `wait` for."""
    objects = node_objects(image, options)
    if not objects:
        return None
    home, *others, daemon_set = objects
    await apply(kube, home)
    await asyncio.gather(remove_stuck_pods(kube, APP, NODE_NAMESPACE), *(apply(kube, obj) for obj in others))
    return await apply(kube, daemon_set)


async def wait(kube: Kube, daemon_set: Object, timeout: float, report: Callable[[str], None]) -> None:
    """Wait until every node that is ready has its agent, as it is now. Raises `EnvironmentProblem`."""
    mark = daemon_set["spec"]["template"]["metadata"]["annotations"][_MARK]
    try:
        away = await unless_stuck(
            kube,
            _served(kube, mark, timeout),
            app=APP,
            name="The agent of a node",
            other="--image",
            namespace=NODE_NAMESPACE,
        )
    except EnvironmentProblem as error:
        raise EnvironmentProblem(
            f"refmesh serves, but nodes lack their agent, and injected pods do not start there: {error.problem}",
            fix=error.fix,
        ) from error
    report("an agent on every node" + (f", but for {len(away)} not ready, such as {away[0]}" if away else ""))


async def _served(kube: Kube, mark: str, timeout: float) -> list[str]:
    """Wait for the agents with a mark; the names of the nodes that are not ready, on which nobody can wait for one."""
    late, ready = list[str](), list[dict[str, Any]]()
    try:
        async with asyncio.timeout(timeout):
            while True:
                every, pods = await asyncio.gather(
                    kube.list("v1", "nodes"), kube.list("v1", "pods", NODE_NAMESPACE, f"app={APP}")
                )
                ready = [node for node in every if is_ready(node)]
                late = lacking(ready, [pod for pod in pods if _marked(pod) == mark])
                if not late:
                    return lacking([node for node in every if not is_ready(node)], [])
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        some = f", such as {late[0]}" if late else ""
        raise EnvironmentProblem(
            f"{len(late)} of {len(ready)} ready nodes have no ready agent of this install in {timeout:.0f} s{some}.",
            fix=f"See `kubectl -n {NODE_NAMESPACE} get pods -o wide`; --timeout gives them longer.",
        ) from None


def _marked(pod: Mapping[str, Any]) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(_MARK)


async def remove(kube: Kube, *, patience: float = 0.0) -> bool:
    """Take the agents off the cluster, and wait for nothing of it (`wait_removed`); False if there were none.

    For so many seconds they are left to pods that still wait for one. What is somebody else's is left alone.
    """
    home = namespace(NODE_NAMESPACE, "privileged")
    there = [obj for obj in (home, *cluster_wide()) if await _is_ours(kube, obj)]
    if home in there:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while await waiting(kube):  # noqa: ASYNC110 - the event is elsewhere
                    await asyncio.sleep(_LOOK_SECONDS)
    await asyncio.gather(*(delete(kube, obj) for obj in there))
    return bool(there)


async def wait_removed(kube: Kube) -> None:
    """Wait until the agents' namespace is gone, if it is going. Raises `EnvironmentProblem`.

    The pod of a node that is lost keeps it until somebody says that the node is.
    """
    there = await kube.get(*_HOME)
    if there is None or not is_mine(there) or "deletionTimestamp" not in there["metadata"]:
        return
    try:
        await wait_gone(kube, namespace(NODE_NAMESPACE, "privileged"), timeout=_GONE_SECONDS)
    except EnvironmentProblem as error:
        raise EnvironmentProblem(
            f"The namespace {NODE_NAMESPACE} is being deleted and is not gone within {_GONE_SECONDS:.0f} s.",
            fix=f"`kubectl -n {NODE_NAMESPACE} get pods -o wide` shows what keeps it: the pod of a node that does not "
            "answer goes when its Node is deleted.",
        ) from error


async def waiting(kube: Kube) -> list[str]:
    """Return the pods (namespace/name) that wait for their node to capture them, or will when they have one."""
    pods = await kube.list("v1", "pods", selector=f"{TLS_MODE_LABEL}=istio")
    due = [wanted(pod, str(pod["spec"].get("nodeName"))) for pod in pods]
    return [pod.name for pod in due if pod is not None and not pod.problem]


async def _is_ours(kube: Kube, obj: Object) -> bool:
    found = await kube.get(obj["apiVersion"], plural_of(obj["kind"]), obj["metadata"]["name"])
    return found is not None and is_mine(found)


def lacking(nodes: Sequence[Mapping[str, Any]], agents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the nodes without a ready agent, sorted. Those of another system have no injected pods."""
    served = {pod["spec"].get("nodeName") for pod in agents if is_ready(dict(pod))}
    linux = [
        str(node["metadata"]["name"])
        for node in nodes
        if (node["metadata"].get("labels") or {}).get(_OS, "linux") == "linux"
    ]
    return sorted(name for name in linux if name not in served)
