"""What a user may say about a mesh: one frozen pydantic model an adapter, read from `--set` and `--config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from reports.errors import UsageProblem

__all__ = ["MeshSettings", "Names", "NamespacedName", "Pairs", "Place", "Settings", "kebab", "settle"]

M = TypeVar("M", bound=BaseModel)


def kebab(name: str) -> str:
    """A field's name as users type it."""
    return name.replace("_", "-")


class Settings(BaseModel):
    """Keys as users type them, nothing unknown, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=kebab)


class MeshSettings(Settings):
    """What may be said of every mesh that has identities."""

    trust_domain: str = "cluster.local"
    controller: str = ""
    """`controllerName` under which the mesh writes the status of routes, where others write it too; "": nobody else."""


class Place(NamedTuple):
    """`namespace/name` of an object."""

    namespace: str
    name: str


def _place(value: object) -> object:
    if isinstance(value, str):
        namespace, slash, name = value.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise ValueError("give it as namespace/name")
        return Place(namespace, name)
    return value


def _pairs(value: object) -> object:
    """`a=b,c=d` as a mapping; a mapping stays one."""
    if not isinstance(value, str):
        return value
    found: dict[str, str] = {}
    for word in (part.strip() for part in value.split(",") if part.strip()):
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise ValueError(f"{word!r} is no key=value")
        found[key] = text
    return found


def _names(value: object) -> object:
    """`a,b` as a tuple; a list becomes one by itself."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


NamespacedName = Annotated[Place, BeforeValidator(_place)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]


_MAPPING, _LIST, _NUMBER = "a mapping, as in {key: value}", "a list, as in [one, other]", "a number, as in 30"
_WANTED = {
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "string_type": "text (in quotes)",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""pydantic's type of error -> what is wanted, in YAML's words."""


def settle(model: type[M], values: Mapping[str, Any], owner: str) -> M:
    """The settings in `values`. `UsageProblem` has one sentence for each bad field, and lists the known ones."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        said = "; ".join(_said(one["loc"], one["type"], one["msg"]) for one in error.errors())
        known = ", ".join(sorted(kebab(name) for name in model.model_fields)) or "none"
        raise UsageProblem(f"settings of {owner}: {said}", fix=f"known settings: {known}") from None


def _said(where: tuple[int | str, ...], kind: str, message: str) -> str:
    path = ".".join(map(str, where))
    if kind == "extra_forbidden":
        return f"there is no setting {path}"
    if wanted := _WANTED.get(kind):
        return f"{path}: give {wanted}"
    said = message.removeprefix("Value error, ").replace("Input should be", "it should be", 1)
    return f"{path}: {said}" if path else said
