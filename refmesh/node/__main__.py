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
import random
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from refmesh import process
from refmesh.errors import EnvironmentProblem
from refmesh.injector.patch import TLS_MODE_LABEL
from refmesh.kubeclient import LOST, Expired, Kube, Page
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

    async def _list(self, fields: str) -> str:
        """Take in all pods, of which nothing is kept; the version to watch from."""
        page: Page = await self._kube.page("v1", "pods", selector=_SELECTOR, fields=fields)
        self.replace(page.items)
        return page.version

    async def follow(self) -> None:
        """List, then watch, for ever. Where the API server is away, what it said last holds."""
        version, delay = "", _BACKOFF_SECONDS[0]
        # What has finished may be many, and nobody waits there.
        fields = f"spec.nodeName={self._node},status.phase!=Succeeded,status.phase!=Failed"
        while True:
            try:
                if not version:
                    version, self.ready = await self._list(fields), True
                async for event in self._kube.watch("v1", "pods", version, selector=_SELECTOR, fields=fields):
                    version, delay = event.version or version, _BACKOFF_SECONDS[0]
                    if event.kind == "DELETED":
                        self.forget(str(event.object["metadata"]["uid"]))
                    elif event.kind != "BOOKMARK":
                        self.put(event.object)
            except Expired:
                version = ""
            except (*LOST, ValueError) as error:
                version = ""
                log.warning("the watch of the node's pods was cut: %s: %s", type(error).__name__, error)
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(delay * 2, _BACKOFF_SECONDS[1])


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
