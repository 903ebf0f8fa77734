"""The agent of one node as a process: `python -m refmesh.node`.

It believes the API server alone, of which it asks for the injected pods of its node; it needs the node's processes
(hostPID), SYS_PTRACE and SYS_ADMIN to find and enter the pods' networks, and NET_ADMIN and NET_RAW to write the rules.
When it ends, nothing changes for pods that are captured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from refmesh import process
from refmesh.errors import EnvironmentProblem
from refmesh.following import Watched, follow
from refmesh.injector.patch import TLS_MODE_LABEL
from refmesh.kubeclient import Kube, Page, WatchEvent
from refmesh.node.captures import Captures
from refmesh.node.wanted import wanted
from refmesh.telemetry import pages

__all__ = ["Agent", "main"]

log = logging.getLogger("refmesh.node")

_SELECTOR = f"{TLS_MODE_LABEL}=istio"
_BACKOFF_SECONDS = (0.1, 5.0)


class Agent:
    """Follows the node's pods and has those captured that wait for it."""

    def __init__(self, kube: Kube, node: str, captures: Captures) -> None:
        self._kube, self._node, self._captures = kube, node, captures
        # What has finished may be many, and nobody waits there.
        self._fields = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
        self.ready = False
        """Whether the pods of the node are known."""
        self._told = set[str]()
        """The pods of which it was said that they wait in vain."""

    def replace(self, pods: Iterable[dict[str, Any]]) -> None:
        """Take in all pods of the node."""
        there, found = set[str](), set[str]()
        for pod in pods:
            uid = str(pod["metadata"]["uid"])
            there.add(uid)
            if self.put(pod):
                found.add(uid)
        for uid in self._captures.known() - found:
            self._captures.drop(uid)
        self._told &= there

    def put(self, pod: dict[str, Any]) -> bool:
        """Take in one pod; whether it waits."""
        due, uid = wanted(pod, self._node), str(pod["metadata"]["uid"])
        if due is not None and not due.problem:
            self._captures.put(due)
            return True
        if due is not None and uid not in self._told:
            self._told.add(uid)
            log.warning("%s cannot be captured: %s", due.name, due.problem)
        self._captures.drop(uid)
        return False

    def forget(self, uid: str) -> None:
        """Take note that a pod is gone."""
        self._told.discard(uid)
        self._captures.drop(uid)

    async def _list(self) -> str:
        """Take in all pods, of which nothing is kept; the version to watch from."""
        page: Page = await self._kube.page("v1", "pods", selector=_SELECTOR, fields=self._fields)
        self.replace(page.items)
        self.ready = True
        return page.version

    def _changed(self, event: WatchEvent) -> None:
        if event.kind == "DELETED":
            self.forget(str(event.object["metadata"]["uid"]))
        else:
            self.put(event.object)

    async def follow(self) -> None:
        """List, then watch, for ever. Where the API server is away, what it said last holds."""
        watched = Watched("the node's pods", "pods", selector=_SELECTOR, fields=self._fields)
        await follow(self._kube, watched, self._list, self._changed, log, backoff=_BACKOFF_SECONDS)


def preflight() -> None:
    """Raises `EnvironmentProblem` where this process could not do its work."""
    try:
        Path("/proc/1/ns/net").stat()
    except OSError as error:
        raise EnvironmentProblem(
            f"The node's processes cannot be looked at: {error.strerror}.",
            fix="The pod needs hostPID and the capabilities SYS_PTRACE and SYS_ADMIN, as `refmesh install` gives it.",
        ) from error


async def _serve(options: argparse.Namespace) -> None:
    preflight()
    until = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, until.set)
    kube, captures = Kube.in_cluster(), Captures()
    agent = Agent(kube, options.node, captures)
    runner = await pages.start(lambda: agent.ready, options.host, options.http_port)
    tasks = [asyncio.create_task(work) for work in (captures.run(), agent.follow(), until.wait())]
    try:
        # Neither of the first two ends by itself: where one does, the kubelet is to start all anew.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await runner.cleanup()
        await kube.close()


def main(given: list[str] | None = None) -> int:
    """Run the agent; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m refmesh.node", description="refmesh's agent of one node.")
    parser.add_argument("--node", default=os.environ.get("NODE_NAME", ""), help="the node's name; NODE_NAME otherwise")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - the kubelet and Prometheus ask
    parser.add_argument("--http-port", type=int, default=15022)
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    options = parser.parse_args(sys.argv[1:] if given is None else given)
    if not options.node:
        parser.error("--node is missing")
    return process.run(lambda: asyncio.run(_serve(options)), options.log_level)


if __name__ == "__main__":
    sys.exit(main())
