"""Which pod a process belongs to, by its control groups. Pure.

The kubelet gives each pod a group named after its UID: `…/kubepods/burstable/podUID/CONTAINER` (cgroupfs) or
`…/kubepods-burstable-podU_I_D.slice/cri-containerd-CONTAINER.scope` (systemd, which takes dashes for folders). A
process cannot leave it, but where a container may write to its own groups it can make others below, of any name.
"""

from __future__ import annotations

import re

__all__ = ["pod_of"]

_HEX = "[0-9a-f]"
_POD = re.compile(
    rf"(?:[a-z0-9-]+-)?pod({_HEX}{{8}}(?:[-_]{_HEX}{{4}}){{3}}[-_]{_HEX}{{12}})(?:\.slice)?",
)


def pod_of(text: str, own: str) -> str | None:
    """Return the UID of the pod, from a process's /proc/PID/cgroup and the reader's own; None for no pod.

    Paths start at the reader's root: with a private cgroup namespace (v2's default) they are relative, `/../..`, so
    that they tell a pod nevertheless. The outermost pod counts, since whatever is below was made by the pod; except
    that what the reader itself is in as well (a node that is a pod of another cluster) is no pod of this node. With v1
    there is a line for each controller, and all must agree.
    """
    ours = dict(_lines(own))
    found = {uid for key, path in _lines(text) if (uid := _outermost(path, ours.get(key, ""))) is not None}
    return found.pop() if len(found) == 1 else None


def _lines(text: str) -> list[tuple[str, str]]:
    """Controllers and path of each line, such as `4:memory:/kubepods/…` or `0::/…`; a path may have colons."""
    parts = [line.split(":", 2) for line in text.splitlines()]
    return [(part[1], part[2]) for part in parts if len(part) == 3]


def _outermost(path: str, own: str) -> str | None:
    theirs, ours = path.split("/"), own.split("/")
    shared = 0
    while shared < min(len(theirs), len(ours)) and theirs[shared] == ours[shared]:
        shared += 1
    for part in theirs[shared:]:
        if match := _POD.fullmatch(part):
            return match[1].replace("_", "-")
    return None
