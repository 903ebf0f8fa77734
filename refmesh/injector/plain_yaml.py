"""YAML that users write, read on the loop which everything in the control plane shares: what it costs is bounded."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]

_DEEPEST = 64


def load(text: str, longest: int) -> Any:
    """Return the value of a document of at most so many letters, None of an empty one. Raises ValueError."""
    if len(text) > longest:
        raise ValueError(f"there are {len(text)} letters; at most {longest} are taken")
    if not text.strip():
        return None
    import yaml  # a control plane whose users write none does without

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's takes a tenth of the time
    try:
        problem = _problem(text, loader)
        found = None if problem else yaml.load(text, Loader=loader)  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        # The others are what the library raises for a value that its tag does not fit.
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error
    if problem:
        raise ValueError(problem)
    return found


def _problem(text: str, loader: Any) -> str:
    """Return why a document would cost more than it is long, or nothing."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        # An alias stands for its value again and again: a few lines of them would be gigabytes.
        if isinstance(event, yaml.AliasEvent):
            return "aliases (*name) are not taken: write the value where it is wanted"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            return f"values lie more than {_DEEPEST} levels deep"
    return ""
