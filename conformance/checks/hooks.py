"""What a webhook's configuration says: whom it asks, and about which objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["ADMISSION", "asked", "changes_new_pods", "selects"]

ADMISSION = "admissionregistration.k8s.io/v1"


def changes_new_pods(hook: Mapping[str, Any]) -> bool:
    """Whether it is asked about pods that are created."""
    return any(
        not {"", "*"}.isdisjoint(rule.get("apiGroups") or ())
        and not {"CREATE", "*"}.isdisjoint(rule.get("operations") or ())
        and not {"pods", "*", "*/*"}.isdisjoint(rule.get("resources") or ())
        for rule in hook.get("rules") or ()
    )


def asked(hook: Mapping[str, Any]) -> tuple[str, str] | None:
    """Namespace and name of the Service that a webhook asks, by reference or by its name in DNS; None: another host."""
    config = hook["clientConfig"]
    if config.get("service"):
        return str(config["service"]["namespace"]), str(config["service"]["name"])
    try:
        labels = (urlsplit(config.get("url") or "").hostname or "").split(".")
    except ValueError:  # no URL
        return None
    return (labels[1], labels[0]) if labels[2:3] == ["svc"] else None


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes selects what has these labels; none selects everything."""
    wanted = selector or {}
    return (wanted.get("matchLabels") or {}).items() <= labels.items() and all(
        _meets(one, labels) for one in wanted.get("matchExpressions") or ()
    )


def _meets(wanted: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(wanted["key"]), wanted.get("values") or ()
    # What is not there is in no list; so NotIn holds for it.
    return {
        "In": value is not None and value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[wanted["operator"]]
