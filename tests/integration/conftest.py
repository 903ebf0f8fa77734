"""One embedded cluster for the whole test session, shared by every xdist worker.

`MESHPROOF_TEST_CLUSTER=dev pytest …` (or `--test-cluster dev`) uses a running cluster of that name instead, and leaves
it alone at the end: the quick way while developing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.cluster import Cluster
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.cluster.locks import exclusive


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--test-cluster", help="name of a running embedded cluster to test in, instead of a new one")


@dataclass(frozen=True)
class Shared:
    """What the workers of one session share: a directory, and the name of the cluster they have together."""

    directory: Path
    name: str
    workers: int
    owner: int
    """The process the session ends with: pytest itself, or the one that started the workers."""

    @property
    def lock(self) -> Path:
        return self.directory / "lock"


@pytest.fixture(scope="session")
def shared_session(testrun_uid: str) -> Shared:
    worker = "PYTEST_XDIST_WORKER" in os.environ
    directory = Path(tempfile.gettempdir()) / f"meshproof-test-{testrun_uid}"
    directory.mkdir(exist_ok=True)
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    owner = os.getppid() if worker else os.getpid()
    return Shared(directory, f"test-{testrun_uid[:8]}", count, owner)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, shared_session: Shared) -> Iterator[Cluster]:
    """The shared cluster: made by the first who asks, deleted by the last who is done.

    Should workers die before that, it ends by itself with the process that started them.
    """
    provider = EmbeddedProvider()
    given = os.environ.get("MESHPROOF_TEST_CLUSTER") or request.config.getoption("--test-cluster", None)
    if given:
        yield _named(provider, given)
        shutil.rmtree(shared_session.directory, ignore_errors=True)
        return
    with exclusive(shared_session.lock):
        if _find(provider, shared_session.name) is None:
            provider.create(shared_session.name, ephemeral_owner=shared_session.owner)
    yield _named(provider, shared_session.name)
    with exclusive(shared_session.lock):
        done = shared_session.directory / "done"
        with done.open("a", encoding="ascii") as marks:
            marks.write("x")
        # A worker that never asked for the cluster makes no mark; then the owner's end does what is done here.
        if done.stat().st_size < shared_session.workers:
            return
        provider.delete(shared_session.name)
    shutil.rmtree(shared_session.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def image(cluster: Cluster, shared_session: Shared) -> str:
    """The name of the product's image, loaded into the shared cluster."""
    from fixtures.images import build_archive

    archive = build_archive()
    loaded = shared_session.directory / f"loaded-{cluster.name}"
    with exclusive(shared_session.lock):
        if not loaded.exists() or loaded.read_text(encoding="utf-8") != archive.reference:
            EmbeddedProvider().load(cluster.name, archive.path)
            loaded.write_text(archive.reference, encoding="utf-8")
    return archive.reference


def _find(provider: EmbeddedProvider, name: str) -> Cluster | None:
    return next((cluster for cluster in provider.list() if cluster.name == name), None)


def _named(provider: EmbeddedProvider, name: str) -> Cluster:
    found = _find(provider, name)
    if found is None:
        pytest.fail(f"there is no running embedded cluster {name!r}")
    return found
