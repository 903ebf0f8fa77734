"""Templates of the injector: named pieces of a pod that are merged over injected pods. Pure.

They are plain YAML, one mapping of all: `templates` has them by name, each with `metadata` (labels, annotations) and
`spec` of a pod, and `defaultTemplates` names those for pods that do not choose by `inject.istio.io/templates`. Istio's
templates are texts in Go's templating language; that is not understood. What `sidecar` does is refmesh's own.

A template gives nobody anything: it is merged before Pod Security admission, quotas and policies look at the pod.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from refmesh.agent.capture import VARIABLES, asked
from refmesh.injector import plain_yaml
from refmesh.injector.overlay import KEYS
from refmesh.injector.policy import INIT

__all__ = [
    "ANNOTATION",
    "CONFIG_MAP",
    "FILE",
    "NONE",
    "SIDECAR",
    "BadTemplate",
    "Templates",
    "of_config_map",
    "parse",
    "read",
]

ANNOTATION = "inject.istio.io/templates"
SIDECAR = "sidecar"
CONFIG_MAP, FILE = "refmesh-injector-templates", "templates.yaml"
"""Where the control plane reads them, and under which key."""
LONGEST = 128 << 10
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DEEPEST = 32
_MOST_VALUES = 10_000
_OWN = ("sidecar.istio.io/", "traffic.sidecar.istio.io/", "inject.istio.io/", "security.istio.io/", "proxy.refmesh.io/")
_REFUSED = {
    "hostNetwork": "the node's traffic would be captured",
    "serviceAccountName": "the proxy's identity was chosen by the pod",
    "serviceAccount": "the proxy's identity was chosen by the pod",
    "nodeName": "it is the scheduler's",
    "priority": "it was decided before",
    "priorityClassName": "it was decided before",
    "ephemeralContainers": "a pod is not created with any",
}


_NOTHING = "has no value, and would take away what the mesh and the pod have there; leave it out, or write one"
_INIT_FIELDS = frozenset(
    {
        "name",
        "env",
        "image",
        "imagePullPolicy",
        "resources",
        "securityContext",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "volumeMounts",
    }
)
"""What a template may say of the container that captures: neither what it runs, nor whether it is waited for."""


class BadTemplate(ValueError):
    """A template that cannot be used; the message names the field."""


@dataclass(frozen=True)
class Templates:
    """The templates of a mesh."""

    named: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    defaults: tuple[str, ...] = (SIDECAR,)
    bad: Mapping[str, str] = field(default_factory=dict)
    """What cannot be used, by name or field, and why; only where `read` took what it could. `FILE` is all of it."""

    @property
    def sentences(self) -> list[str]:
        """What cannot be used and why, each with where it is."""
        return [why if where in why else f"{where}: {why}" for where, why in self.bad.items()]

    def chosen(self, annotations: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the templates of a pod in their order, without `sidecar`. Raises `BadTemplate`."""
        said = annotations.get(ANNOTATION)
        if said is None:
            return [(name, self.named[name]) for name in self.defaults if name in self.named]
        names = [name.strip() for name in said.split(",")]
        if SIDECAR not in names:
            raise BadTemplate(f"annotation {ANNOTATION}: {said!r} lacks {SIDECAR}, which the others add to")
        for name in names:
            if name in self.bad:
                raise BadTemplate(f"annotation {ANNOTATION}: template {name} is broken: {self.bad[name]}")
            if name != SIDECAR and name not in self.named and FILE in self.bad:
                raise BadTemplate(f"annotation {ANNOTATION}: templates cannot be read: {self.bad[FILE]}")
            if name != SIDECAR and name not in self.named:
                known = ", ".join([SIDECAR, *sorted(self.named)])
                raise BadTemplate(f"annotation {ANNOTATION}: there is no template {name!r}; there is {known}")
        return [(name, self.named[name]) for name in dict.fromkeys(names) if name != SIDECAR]

    def missing(self, annotations: Mapping[str, str]) -> list[str]:
        """Return the templates that this pod would have by default, were they not broken."""
        return [name for name in self.defaults if name in self.bad and ANNOTATION not in annotations]


NONE = Templates()


def parse(text: str) -> Templates:
    """Read all templates. Raises `BadTemplate` for the first thing that is wrong."""
    found = read(text)
    for sentence in found.sentences:
        raise BadTemplate(sentence)
    return found


def of_config_map(config_map: Mapping[str, Any] | None) -> Templates:
    """Read those of the ConfigMap, as `read` does; None where there is none."""
    return read(str(((config_map or {}).get("data") or {}).get(FILE) or ""))


def read(text: str) -> Templates:
    """Read what can be used, and note why the rest cannot; never fails, for pods wait for an answer."""
    try:
        whole = _load(text)
        given = _mapping(whole.get("templates"), "templates")
    except BadTemplate as error:
        return Templates(bad={FILE: str(error)})
    named, bad = dict[str, Mapping[str, Any]](), dict[str, str]()
    for key in whole.keys() - {"templates", "defaultTemplates"}:
        bad[str(key)] = f"{key}: is not known; there are templates and defaultTemplates"
    for name, template in given.items():
        try:
            named[str(name)] = _template(name, template)
        except BadTemplate as error:
            bad[str(name)] = str(error)
    defaults = whole.get("defaultTemplates", [SIDECAR])
    try:
        names = _defaults(defaults, {*named, *bad})
    except BadTemplate as error:
        names, bad["defaultTemplates"] = (SIDECAR,), str(error)
    return Templates(named, names, bad)


def _load(text: str) -> Mapping[str, Any]:
    try:
        whole = plain_yaml.load(text, LONGEST)
    except ValueError as error:
        raise BadTemplate(str(error)) from error
    return _mapping({} if whole is None else whole, "the file")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        hint = " (Istio's templates are texts for Go; here they are YAML)" if isinstance(value, str) else ""
        raise BadTemplate(f"{where}: must be a mapping, not {type(value).__name__}{hint}")
    return value


def _defaults(value: Any, known: set[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadTemplate("defaultTemplates: must be a list of names")
    if SIDECAR not in value:
        raise BadTemplate(f"defaultTemplates: lacks {SIDECAR}, which the others add to")
    for name in value:
        if name != SIDECAR and name not in known:
            raise BadTemplate(f"defaultTemplates: there is no template {name!r}")
    return tuple(dict.fromkeys(value))


def _template(name: Any, template: Any) -> Mapping[str, Any]:
    where = f"templates.{name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == SIDECAR:
        raise BadTemplate(f"{where}: {name!r} is no name for a template (a-z, 0-9, -; not {SIDECAR})")
    found = _mapping(template, where)
    _check_values(found, where)
    for key in found.keys() - {"metadata", "spec"}:
        raise BadTemplate(f"{where}.{key}: is not known; there are metadata and spec")
    metadata, spec = (_mapping(found.get(key), f"{where}.{key}") for key in ("metadata", "spec"))
    for kind, values in metadata.items():
        _check_texts(kind, values, f"{where}.metadata.{kind}")
    for key in spec:
        if key in _REFUSED:
            raise BadTemplate(f"{where}.spec.{key}: cannot be given by a template: {_REFUSED[key]}")
    _check_lists(spec, f"{where}.spec")
    _check_containers(spec, f"{where}.spec")
    return {"metadata": metadata, "spec": spec}


def _check_texts(kind: str, values: Any, where: str) -> None:
    if kind not in {"labels", "annotations"}:
        raise BadTemplate(f"{where}: only labels and annotations can be given")
    if values is None:
        raise BadTemplate(f"{where}: {_NOTHING}")
    for key, value in _mapping(values, where).items():
        if key.startswith(_OWN):
            raise BadTemplate(f"{where}: {key} does nothing: it is read before")
        if not isinstance(value, str):
            raise BadTemplate(f"{where}: {key} must be a text; put it in quotes")


def _check_containers(spec: Mapping[str, Any], where: str) -> None:
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group, ())):
            path = f"{where}.{group}[{index}]"
            if "image" in container and not (isinstance(container["image"], str) and container["image"]):
                raise BadTemplate(f"{path}.image: must be the name of an image")
            if container["name"] == INIT:
                _check_init(container, path, group)


def _check_init(container: Mapping[str, Any], path: str, group: str) -> None:
    """Raises `BadTemplate` for what could let a pod start without its capture, and say nowhere that it has none."""
    if group != "initContainers":
        raise BadTemplate(f"{path}: {INIT} is an init container; say it under initContainers")
    for key in container.keys() - _INIT_FIELDS:
        taken = ", ".join(sorted(_INIT_FIELDS - {"name"}))
        raise BadTemplate(f"{path}.{key}: cannot be given for {INIT}, which captures the pod; taken are {taken}")
    said = {one["name"]: one.get("value") for one in container.get("env", ()) if one["name"] in VARIABLES}
    for name, value in said.items():
        if not isinstance(value, str):
            raise BadTemplate(f"{path}.env: {name} must have a value that is a text")
    try:
        asked(said)
    except ValueError as error:
        raise BadTemplate(f"{path}.env: {error}") from error


def _check_values(template: Mapping[str, Any], where: str) -> None:
    for count, (path, value) in enumerate(_walk(template, where, 0)):
        if count > _MOST_VALUES:
            raise BadTemplate(f"{where}: has more than {_MOST_VALUES} values")
        if isinstance(value, str) and "{{" in value:
            raise BadTemplate(f"{path}: {{{{…}}}} is for Go's templates, and these are plain YAML; write the value")
        if not isinstance(value, dict | list | str | int | float | bool | None):
            raise BadTemplate(f"{path}: {value} is a {type(value).__name__}; put it in quotes")


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    yield path, value
    if depth > _DEEPEST:
        raise BadTemplate(f"{path}: lies too deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise BadTemplate(f"{path}: the key {key!r} is no text; put it in quotes")
            if key.startswith("$"):
                raise BadTemplate(f"{path}.{key}: directives of strategic merge patches are not understood")
            yield from _walk(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{index}]", depth + 1)


def _check_lists(spec: Mapping[str, Any], where: str) -> None:
    """Raises `BadTemplate` where what merges by name has none."""
    for field_, value in spec.items():
        path = f"{where}.{field_}"
        if isinstance(value, dict) and field_ not in {"labels", "annotations", "matchLabels", "nodeSelector"}:
            _check_lists(value, path)
        key = KEYS.get(field_)
        if key is None:
            continue
        if value is None:
            raise BadTemplate(f"{path}: {_NOTHING}")
        if not isinstance(value, list):
            raise BadTemplate(f"{path}: must be a list")
        for index, item in enumerate(value):
            if not isinstance(item, dict) or not isinstance(item.get(key), str | int) or not item[key]:
                raise BadTemplate(f"{path}[{index}]: must be an object with {key}, by which it is merged")
            _check_lists(item, f"{path}[{index}]")
