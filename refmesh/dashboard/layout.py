"""Where the nodes of a service graph stand: callers left of what they call, few crossings. Pure and quick."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from refmesh.telemetry.traffic import Node

__all__ = ["HEIGHT", "WIDTH", "Layout", "place"]

WIDTH, HEIGHT = 158, 46
"""Of a node, in the drawing's units."""
_GAP_X, _GAP_Y, _MARGIN = 128, 34, 8
_SWEEPS = 4


@dataclass(frozen=True)
class Layout:
    """Top left corners of the nodes, and the size of the whole."""

    at: dict[Node, tuple[float, float]]
    width: float
    height: float


def place(pairs: Iterable[tuple[Node, Node]]) -> Layout:
    """Place the nodes of a directed graph in columns."""
    forward = _without_cycles(sorted(set(pairs)))
    columns = _columns(forward)
    _uncross(columns, forward)
    tallest = max((len(column) for column in columns), default=0)
    step_x, step_y = WIDTH + _GAP_X, HEIGHT + _GAP_Y
    at: dict[Node, tuple[float, float]] = {}
    for x, column in enumerate(columns):
        top = _MARGIN + (tallest - len(column)) * step_y / 2
        for y, node in enumerate(column):
            at[node] = (_MARGIN + x * step_x, top + y * step_y)
    width = 2 * _MARGIN + max(0, len(columns) * step_x - _GAP_X)
    return Layout(at, width, 2 * _MARGIN + max(0, tallest * step_y - _GAP_Y))


def _without_cycles(pairs: Sequence[tuple[Node, Node]]) -> dict[Node, list[Node]]:
    """Successors by node, with the edges that close a cycle turned around. No recursion: chains may be long."""
    follows: dict[Node, list[Node]] = {}
    for source, destination in pairs:
        follows.setdefault(source, []).append(destination)
        follows.setdefault(destination, [])
    called = {destination for _, destination in pairs}
    found: dict[Node, list[Node]] = {node: [] for node in follows}
    state: dict[Node, int] = {}
    for root in sorted(follows, key=lambda node: (node in called, node)):
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(follows[root]))]
        while stack:
            node, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[node] = 2
                stack.pop()
            elif following == node:
                continue
            elif state.get(following) == 1:
                found[following].append(node)
            else:
                found[node].append(following)
                if following not in state:
                    state[following] = 1
                    stack.append((following, iter(follows[following])))
    return found


def _columns(forward: dict[Node, list[Node]]) -> list[list[Node]]:
    """Every node one column right of the rightmost of its callers."""
    callers = dict.fromkeys(forward, 0)
    for successors in forward.values():
        for node in successors:
            callers[node] += 1
    depth = {node: 0 for node, count in callers.items() if not count}
    ready = sorted(depth)
    while ready:
        node = ready.pop()
        for following in forward[node]:
            depth[following] = max(depth.get(following, 0), depth[node] + 1)
            callers[following] -= 1
            if not callers[following]:
                ready.append(following)
    columns: list[list[Node]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for node in sorted(depth):
        columns[depth[node]].append(node)
    return columns


def _uncross(columns: list[list[Node]], forward: dict[Node, list[Node]]) -> None:
    """Order each column by where its neighbours stand, back and forth a few times."""
    neighbours: dict[Node, list[Node]] = {node: list(successors) for node, successors in forward.items()}
    for node, successors in forward.items():
        for following in successors:
            neighbours[following].append(node)
    row = {node: y - len(column) / 2 for column in columns for y, node in enumerate(column)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wish = {
                node: sum(row[other] for other in neighbours[node]) / len(neighbours[node])
                if neighbours[node]
                else row[node]
                for node in column
            }
            column.sort(key=lambda node: (wish[node], node))
            for y, node in enumerate(column):
                row[node] = y - len(column) / 2
