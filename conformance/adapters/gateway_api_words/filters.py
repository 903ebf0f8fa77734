"""The parts of a rule that meshes with routes of their own took over from Gateway API word for word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.intents import HeaderEdit, Pairs, Redirect, Rewrite, RouteRule

__all__ = ["exact", "filters"]


def exact(pairs: Pairs) -> list[dict[str, str]]:
    """Matches of headers or query parameters by their whole value."""
    return [{"type": "Exact", "name": name, "value": value} for name, value in pairs]


def filters(rule: RouteRule, mirror: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a rule does to its requests. `mirror` says in the mesh's own way where the rule's copies go."""
    found: list[dict[str, Any]] = []
    if rule.request_headers:
        found.append({"type": "RequestHeaderModifier", "requestHeaderModifier": _edit(rule.request_headers)})
    if rule.response_headers:
        found.append({"type": "ResponseHeaderModifier", "responseHeaderModifier": _edit(rule.response_headers)})
    if rule.rewrite:
        found.append({"type": "URLRewrite", "urlRewrite": _rewrite(rule.rewrite)})
    if rule.redirect:
        found.append({"type": "RequestRedirect", "requestRedirect": _redirect(rule.redirect)})
    if mirror:
        found.append({"type": "RequestMirror", "requestMirror": dict(mirror)})
    if rule.unknown_filter:
        reference = {"group": "conformance.meshproof.io", "kind": "UnknownFilter", "name": rule.unknown_filter}
        found.append({"type": "ExtensionRef", "extensionRef": reference})
    return found


def _edit(edit: HeaderEdit) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, pairs in (("set", edit.set), ("add", edit.add)):
        if pairs:
            found[key] = [{"name": name, "value": value} for name, value in pairs]
    return found | ({"remove": list(edit.remove)} if edit.remove else {})


def _path(path: str, prefix: str) -> dict[str, Any]:
    if path:
        return {"path": {"type": "ReplaceFullPath", "replaceFullPath": path}}
    return {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}} if prefix else {}


def _rewrite(rewrite: Rewrite) -> dict[str, Any]:
    return _path(rewrite.path, rewrite.prefix) | ({"hostname": rewrite.host} if rewrite.host else {})


def _redirect(redirect: Redirect) -> dict[str, Any]:
    given = {"scheme": redirect.scheme, "hostname": redirect.host, "port": redirect.port}
    more = {key: value for key, value in given.items() if value}
    return {"statusCode": redirect.status, **_path(redirect.path, redirect.prefix), **more}
