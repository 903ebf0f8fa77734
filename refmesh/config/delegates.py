"""VirtualServices with their delegates' rules in place: one has the hosts, the other says what becomes of requests.

As in Istio a delegate has no hosts and delegates nothing further. Its matches hold together with those of the rule that
names it, and each must be within one of them. Timeout, retries and the like are that rule's where it does not set them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from refmesh.api.expressions import Budget
from refmesh.api.routing import NO_CHANGE, Match, NamedMatch, Rule, TextMatch
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Key
from refmesh.config.standing import Finding

__all__ = ["Delegation", "conjoined", "delegated"]

_MOST_MATCHES = 1024
"""Of all delegates of an object together: a few lines could name the same thousand rules a thousand times."""
_MOST_IN_NAMESPACE = 8192
"""The same for all objects of a namespace, the oldest first."""
_latest: tuple[Mapping[Key, VirtualService], Delegation] | None = None
"""What was made last, and of what: most changes of a cluster touch no VirtualService."""


@dataclass(frozen=True)
class Delegation:
    """All VirtualServices."""

    virtual_services: Mapping[Key, VirtualService]
    """Those with hosts; where a delegate cannot stand in for a rule, there is no such rule."""
    delegates: Mapping[Key, VirtualService]
    problems: Mapping[Key, tuple[Finding, ...]]
    """Why rules of those with hosts are not there."""
    used: frozenset[Key]
    """The delegates some of whose rules are in force."""


class _Conflict(ValueError):
    """Two matches that cannot hold together, or of which nobody can say what they have in common."""


def delegated(written: Mapping[Key, VirtualService]) -> Delegation:
    """Put the rules of delegates in their places."""
    global _latest  # noqa: PLW0603 - a memory of one, by identity
    if _latest is None or _latest[0] is not written:
        _latest = written, _delegated(written)
    return _latest[1]


def _delegated(written: Mapping[Key, VirtualService]) -> Delegation:
    delegates = {key: item for key, item in written.items() if item.is_delegate}
    roots = [item for item in written.values() if any(rule.delegate is not None for rule in item.rules)]
    if not delegates and not roots:
        return Delegation(written, {}, {}, frozenset())
    found = {key: item for key, item in written.items() if not item.is_delegate}
    problems, used, left = dict[Key, tuple[Finding, ...]](), set[Key](), dict[str, int]()
    for item in sorted(roots, key=lambda one: one.meta.age_key):
        key, namespace = (item.meta.namespace, item.meta.name), item.meta.namespace
        before = left.get(namespace, _MOST_IN_NAMESPACE)
        merged = _Root(item, delegates, min(before, _MOST_MATCHES))
        found[key] = replace(item, rules=tuple(merged.rules()))
        problems[key] = tuple(merged.problems)
        used |= merged.used
        left[namespace] = before - merged.taken
    return Delegation(found, delegates, problems, frozenset(used))


class _Root:
    """One object that delegates."""

    def __init__(self, item: VirtualService, delegates: Mapping[Key, VirtualService], most: int) -> None:
        self._item, self._delegates = item, delegates
        self._most, self._budget = most, Budget()
        self.taken = 0
        self.problems: list[Finding] = []
        self.used = set[Key]()

    def rules(self) -> Iterator[Rule]:
        """Its rules, those of delegates in their places."""
        for index, rule in enumerate(self._item.rules):
            if rule.delegate is None:
                yield rule
                continue
            where, name = f"spec.http[{index}].delegate", "/".join(rule.delegate)
            delegate = self._delegates.get(rule.delegate)
            if delegate is None:
                self._miss("DelegateNotFound", f"{where}: there is no VirtualService {name} without hosts in force")
            elif not delegate.speaks_to(self._item.meta.namespace):
                word = f"{where}: VirtualService {name} is not exported to namespace {self._item.meta.namespace}"
                self._miss("DelegateNotFound", word)
            else:
                for number, inner in enumerate(delegate.rules):
                    try:
                        merged = _merged(rule, inner)
                        self._pay(merged)
                    except _Conflict as conflict:
                        self._miss(
                            "DelegateConflict", f"{where}: spec.http[{number}] of VirtualService {name} {conflict}"
                        )
                    else:
                        self.used.add(rule.delegate)
                        yield merged

    def _miss(self, reason: str, message: str) -> None:
        self.problems.append(Finding(reason, message))

    def _pay(self, rule: Rule) -> None:
        wanted = max(len(rule.matches), 1)
        if self.taken + wanted > self._most:
            most = f"{_MOST_MATCHES} matches in all, those of a namespace {_MOST_IN_NAMESPACE}"
            raise _Conflict(f"is too much: the delegates of an object may have {most}")
        self.taken += wanted
        for match in rule.matches:
            texts = (match.path, match.method, match.authority, match.scheme)
            named = (entry.match for entry in (*match.headers, *match.query))
            for text in (*texts, *named):
                if text is not None and text.kind == "regex" and (problem := self._budget.problem(text.value)):
                    raise _Conflict(f"cannot be used: an expression {problem}")


def _merged(root: Rule, inner: Rule) -> Rule:
    """A rule of a delegate in the place of the rule that delegates. Raises `_Conflict`."""
    own_headers = (inner.request_headers, inner.response_headers) != (NO_CHANGE, NO_CHANGE)
    headers = inner if own_headers else root
    return replace(
        inner,
        name="-".join(name for name in (root.name, inner.name) if name),
        matches=conjoined(root.matches, inner.matches),
        timeout=inner.timeout if inner.timeout is not None else root.timeout,
        retry=inner.retry if inner.retry is not None else root.retry,
        fault=inner.fault if inner.fault is not None else root.fault,
        rewrite=inner.rewrite if inner.rewrite is not None else root.rewrite,
        cors=inner.cors if inner.cors is not None else root.cors,
        mirrors=inner.mirrors or root.mirrors,
        request_headers=headers.request_headers,
        response_headers=headers.response_headers,
    )


def conjoined(root: tuple[Match, ...], inner: tuple[Match, ...]) -> tuple[Match, ...]:
    """Matches that hold where one of `root` and one of `inner` do; none stand for every request.

    Raises ValueError where one of `inner` is within none of `root`, or what two have in common cannot be written.
    """
    if not root or not inner:
        return root or inner
    found = list[Match]()
    for index, match in enumerate(inner):
        if not any(_within(match, wider) for wider in root):
            raise _Conflict(f"asks in match[{index}] for requests that the rule which delegates does not take")
        for wider in root:
            if (both := _both(wider, match)) is not None:
                found.append(both)
    return tuple(dict.fromkeys(found))


def _fields(match: Match) -> tuple[TextMatch | None, ...]:
    return (match.path, match.method, match.authority, match.scheme)


def _within(match: Match, wider: Match) -> bool:
    """Whether no condition of the wider match is one that this one puts otherwise."""
    texts = zip(_fields(match), _fields(wider), strict=True)
    return (
        all(one is None or other is None or _narrower(one, other) for one, other in texts)
        and all(_narrower(one.match, other.match) for one, other in _shared(match.headers, wider.headers))
        and all(_narrower(one.match, other.match) for one, other in _shared(match.query, wider.query))
        and (match.port is None or wider.port is None or match.port == wider.port)
    )


def _both(root: Match, inner: Match) -> Match | None:
    """What two matches have in common; None for nothing. Raises `_Conflict` where it cannot be written."""
    if root.port is not None and inner.port is not None and root.port != inner.port:
        return None
    texts = list[TextMatch | None]()
    for one, other in zip(_fields(root), _fields(inner), strict=True):
        if one is None or other is None:
            texts.append(one if other is None else other)
        elif _narrower(other, one):
            texts.append(other)
        elif _narrower(one, other):
            texts.append(one)
        elif _apart(one, other):
            return None
        else:
            raise _Conflict(f"and the rule which delegates ask for {one.value!r} and {other.value!r} at once")
    path, method, authority, scheme = texts
    return replace(
        root,
        path=path,
        method=method,
        authority=authority,
        scheme=scheme,
        # Of several conditions for one header or parameter all must hold.
        headers=tuple(dict.fromkeys((*root.headers, *inner.headers))),
        query=tuple(dict.fromkeys((*root.query, *inner.query))),
        port=root.port if inner.port is None else inner.port,
    )


def _shared(some: tuple[NamedMatch, ...], others: tuple[NamedMatch, ...]) -> Iterator[tuple[NamedMatch, NamedMatch]]:
    """What both ask of the same header or parameter."""
    known = {entry.name: entry for entry in others if not entry.invert}
    yield from ((entry, known[entry.name]) for entry in some if not entry.invert and entry.name in known)


def _narrower(one: TextMatch, wider: TextMatch) -> bool:
    """Whether every text that `one` holds of is one of those of `wider`."""
    if one == wider or wider.kind == "present":
        return True
    if {one.kind, wider.kind} & {"regex", "present"} or (one.ignore_case and not wider.ignore_case):
        return False
    text, start = one.value, wider.value
    if wider.ignore_case:
        text, start = text.lower(), start.lower()
    return text.startswith(start) if wider.kind == "prefix" else one.kind == "exact" and text == start


def _apart(one: TextMatch, other: TextMatch) -> bool:
    """Whether no text is one of both, as far as can be told."""
    if {one.kind, other.kind} - {"exact", "prefix"}:
        return False
    loose = (replace(one, ignore_case=True), replace(other, ignore_case=True))
    return not _narrower(*loose) and not _narrower(*reversed(loose))
