"""VirtualServices with their delegates' rules in place: one has the hosts, the other says what becomes of requests.

As in Istio a delegate has no hosts and delegates nothing further. Its matches hold together with those of the rule that
names it, and each must be within one of them. Timeout, retries and the like are that rule's where it does not set them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from refmesh.api.expressions import MOST_IN_OBJECT, Budget
from refmesh.api.routing import NO_CHANGE, Match, NamedMatch, Rule, TextMatch
from refmesh.api.virtual_service import VirtualService
from refmesh.config.latest import Latest
from refmesh.config.model import Key
from refmesh.config.standing import Finding

__all__ = ["Delegation", "conjoined", "delegated"]

_MOST_MATCHES, _MOST_SIZE = 1024, 1 << 20
"""Of all delegates of an object together, the size in bytes or so: a few lines could name a thousand rules a thousand
times. Each delegate that is named may have an equal share, so that none takes another's away."""
_NAMESPACE_MATCHES, _NAMESPACE_SIZE = 8192, 4 << 20
"""The same for all objects of a namespace, the oldest first."""
_ENTRY = 16
"""What each entry of a list takes beside its texts."""
_MOST_PROBLEMS = 16
"""So many are told of an object; the others are counted."""
_latest = Latest[Mapping[Key, VirtualService], "Delegation"]()
"""Most changes of a cluster touch no VirtualService."""


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
    dropped: Mapping[Key, tuple[Finding, ...]]
    """By delegate, why rules of it are not in force where it is named."""


class _Conflict(ValueError):
    """Two matches that cannot hold together, or of which nobody can say what they have in common."""


def delegated(written: Mapping[Key, VirtualService]) -> Delegation:
    """Put the rules of delegates in their places."""
    return _latest.made(written, _delegated)


def _delegated(written: Mapping[Key, VirtualService]) -> Delegation:
    delegates = {key: item for key, item in written.items() if item.is_delegate}
    roots = [item for item in written.values() if any(rule.delegate is not None for rule in item.rules)]
    if not delegates and not roots:
        return Delegation(written, {}, {}, frozenset(), {})
    found = {key: item for key, item in written.items() if not item.is_delegate}
    problems, dropped = dict[Key, tuple[Finding, ...]](), dict[Key, _Problems]()
    used, left = set[Key](), dict[str, _Share]()
    for item in sorted(roots, key=lambda one: one.meta.age_key):
        key, namespace = (item.meta.namespace, item.meta.name), item.meta.namespace
        share = left.setdefault(namespace, _Share(_NAMESPACE_MATCHES, _NAMESPACE_SIZE))
        merged = _Root(item, delegates, share, dropped)
        found[key] = replace(item, rules=tuple(merged.rules()))
        problems[key] = merged.problems.told()
        used |= merged.used
    told = {key: problem.told() for key, problem in dropped.items()}
    return Delegation(found, delegates, problems, frozenset(used), told)


class _Problems:
    """The first that are found, and how many there are."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._more = 0

    def add(self, problem: Finding) -> None:
        if len(self._found) < _MOST_PROBLEMS:
            self._found[problem] = None
        elif problem not in self._found:
            self._more += 1

    def told(self) -> tuple[Finding, ...]:
        found = tuple(self._found)
        if not self._more:
            return found
        return (*found, replace(found[-1], message=f"and {self._more} more rules of delegates are not in force"))


@dataclass
class _Share:
    """What may still be merged."""

    matches: int
    size: int
    spent: bool = False
    """Whether something was too much for it: what comes behind that is left out as well."""

    def pay(self, matches: int, size: int) -> bool:
        """Whether so much is left, which is then paid."""
        if self.spent or matches > self.matches or size > self.size:
            return False
        self.matches -= matches
        self.size -= size
        return True


class _Root:
    """One object that delegates."""

    def __init__(
        self,
        item: VirtualService,
        delegates: Mapping[Key, VirtualService],
        left: _Share,
        dropped: dict[Key, _Problems],
    ) -> None:
        self._item, self._delegates, self._left, self._dropped = item, delegates, left, dropped
        named = {rule.delegate for rule in item.rules if rule.delegate is not None}
        self._number = max(len(named), 1)
        matches, size = min(left.matches, _MOST_MATCHES), min(left.size, _MOST_SIZE)
        self._shares = {key: _Share(matches // self._number, size // self._number) for key in named}
        self._budgets = {key: Budget(MOST_IN_OBJECT // self._number) for key in named}
        self.problems = _Problems()
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
                word = f"{where}: there is no VirtualService {name} without hosts in force"
                self.problems.add(Finding("DelegateNotFound", word))
            elif not delegate.speaks_to(self._item.meta.namespace):
                word = f"{where}: VirtualService {name} is not exported to namespace {self._item.meta.namespace}"
                self.problems.add(Finding("DelegateNotFound", word))
            else:
                yield from self._of(index, rule, delegate, rule.delegate)

    def _of(self, index: int, rule: Rule, delegate: VirtualService, key: Key) -> Iterator[Rule]:
        share, budget, cost = self._shares[key], self._budgets[key], _Cost.of(rule)
        for number, inner in enumerate(delegate.rules):
            if share.spent or budget.left < 0:
                return  # that has been said
            try:
                self._pay(share, cost, _Cost.of(inner))
                merged = _merged(rule, inner)
                self._pay_expressions(budget, merged)
            except _Conflict as conflict:
                self._drop(index, number, key, str(conflict))
            else:
                self.used.add(key)
                yield merged

    def _drop(self, index: int, number: int, key: Key, why: str) -> None:
        namespace, name = key
        word = f"spec.http[{index}].delegate: spec.http[{number}] of VirtualService {namespace}/{name} {why}"
        self.problems.add(Finding("DelegateConflict", word))
        own = self._item.meta.namespace == namespace
        word = f"spec.http[{number}] does not stand in spec.http[{index}] of {self._item.meta.title}"
        # What a rule elsewhere asks for is not said here, and who names an object wrongly does not spoil its status.
        told = Finding("DelegateConflict", f"{word}: it {why}" if own else word, "ERROR" if own else "WARNING")
        self._dropped.setdefault(key, _Problems()).add(told)

    def _pay(self, share: _Share, root: _Cost, inner: _Cost) -> None:
        """Before anything is merged: at most every match goes with every other, and each has the texts of both."""
        matches = root.matches * inner.matches
        size = root.matches * inner.of_matches + inner.matches * root.of_matches + root.rest + inner.rest
        if not share.pay(matches, size) or not self._left.pay(matches, size):
            share.spent = True
            most = f"{_MOST_MATCHES} matches in all and {_MOST_SIZE} bytes"
            if self._number > 1:
                most += f", shared alike by the {self._number} that it names"
            more = f"those of a namespace {_NAMESPACE_MATCHES} and {_NAMESPACE_SIZE}"
            raise _Conflict(f"is too much, and so is what follows: the delegates of an object may have {most}; {more}")

    def _pay_expressions(self, budget: Budget, rule: Rule) -> None:
        for match in rule.matches:
            named = (entry.match for entry in (*match.headers, *match.query))
            for text in (*_fields(match), *named):
                if text is not None and text.kind == "regex" and (problem := budget.problem(text.value)):
                    shared = f", a delegate {1 / self._number:.1%} of it" if self._number > 1 else ""
                    raise _Conflict(f"cannot be used: an expression {problem}{shared if budget.left < 0 else ''}")


@dataclass(frozen=True)
class _Cost:
    """How large a rule is: the number of its matches (at least 1), their size, and that of all else."""

    matches: int
    of_matches: int
    rest: int

    @classmethod
    def of(cls, rule: Rule) -> _Cost:
        of_matches = _size(rule.matches)
        return cls(max(len(rule.matches), 1), of_matches, _size(rule) - of_matches)


def _size(value: Any) -> int:
    """About how many bytes a part of a rule takes in a proxy's configuration."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 4 * len(value)
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, tuple):
        return sum(_ENTRY + _size(one) for one in value)
    return sum(_size(getattr(value, one.name)) for one in fields(value)) if is_dataclass(value) else 0


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
