"""Trials on several clusters side by side; each one is on disk before the next begins, so that a run can go on."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from fixtures.cluster import Cluster, provider
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.cluster.existing import agree
from fixtures.interrupts import cleaning_up
from fixtures.kube import Kube
from meshproof_cli.ground import MESH_NAMESPACE
from meshproof_cli.refmesh_program import refmesh
from meshproof_cli.sensitivity.trial import Bench, attempt
from reports.errors import UsageProblem
from reports.sensitivity import Subject, Trial, trial_from_json, trial_json

__all__ = ["Record", "benches", "consent", "try_all"]


class Record:
    """`trials.jsonl`: one trial a line, in the order in which they ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def read(self) -> tuple[Trial, ...]:
        """The trials so far; a last line that was cut off by a crash is none. Raises `UsageProblem`."""
        if not self.path.is_file():
            return ()
        lines = self.path.read_text(encoding="utf-8").split("\n")
        whole = lines[:-1]
        try:
            return tuple(trial_from_json(json.loads(line)) for line in whole if line.strip())
        except ValueError as error:
            raise UsageProblem(f"{self.path} is damaged: {error}", fix="remove it to begin anew") from error

    def add(self, trial: Trial) -> None:
        """Append a trial."""
        text = json.dumps(trial_json(trial), ensure_ascii=False) + "\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._drop_cut_off()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())

    def _drop_cut_off(self) -> None:
        """Remove a last line that a crash has cut off: the next one would become a part of it."""
        if self.path.is_file():
            whole = self.path.read_bytes()
            os.truncate(self.path, whole.rfind(b"\n") + 1)


def consent(kubeconfig: Path | None, context: str | None, *, yes: bool) -> None:
    """Ask whether a cluster of somebody's may be given meshes with holes in them; `yes` answers.

    Raises `UsageProblem` where that is refused, or refmesh is there already: nobody could give it back as it was.
    """
    cluster = provider("existing", kubeconfig=kubeconfig, context=context).create("")
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    if kube.get("v1", "Namespace", MESH_NAMESPACE) is not None:
        raise UsageProblem(
            "refmesh is installed on this cluster already, and defects would be installed over it",
            fix="take another cluster, or `meshproof refmesh uninstall` first",
        )
    agree(
        f"refmesh will be installed on {kube.host} with one defect after another, also in its security, the mesh"
        " disturbed as a whole, and removed at the end. Do that?",
        yes=yes,
    )


@contextmanager
def benches(
    count: int, make: Callable[[Cluster], Bench], archive: Path | None, *, named: str | None, kubeconfig: Path | None,
    context: str | None,
) -> Iterator[list[Bench]]:  # fmt: skip
    """Clusters to try on: one that exists, or as many new embedded ones, which end with this process.

    `archive` is loaded into clusters of our own. One of somebody's is left without refmesh, as it was.
    """
    if kubeconfig is not None or context is not None:
        bench = make(provider("existing", kubeconfig=kubeconfig, context=context).create(""))
        try:
            yield [bench]
        finally:
            cleaning_up()
            refmesh("uninstall", "--yes", *bench.access, progress=lambda _: None)
        return
    maker = EmbeddedProvider()
    with ExitStack() as exits:
        if named is not None:
            clusters = [one for one in maker.list() if one.name == named]
            if not clusters:
                raise UsageProblem(f"there is no embedded cluster {named!r}", fix="see `meshproof cluster list`")
        else:
            clusters = []
            for number in range(count):
                clusters.append(maker.create(f"sens-{os.getpid()}-{number}", ephemeral_owner=os.getpid()))
                exits.callback(maker.delete, clusters[-1].name)
        if archive is not None:
            for cluster in clusters:
                maker.load(cluster.name, archive)
        yield [make(cluster) for cluster in clusters]


def try_all(
    places: Sequence[Bench],
    wanted: Sequence[Subject],
    record: Record,
    report: Callable[[str], None],
    tried: Callable[[Trial], None],
) -> None:
    """Try every subject, each on whichever cluster is free; the trials go to the record and to `tried`."""
    todo: queue.SimpleQueue[Subject] = queue.SimpleQueue()
    for subject in wanted:
        todo.put(subject)
    stop = threading.Event()

    def work(bench: Bench) -> None:
        while not stop.is_set():
            try:
                subject = todo.get_nowait()
            except queue.Empty:
                return
            trial = attempt(bench, subject, partial(_told, report, subject.name))
            if stop.is_set():
                return  # it did not end by itself, and says nothing
            record.add(trial)
            tried(trial)

    with ThreadPoolExecutor(len(places), "trial") as pool:
        working = [pool.submit(work, bench) for bench in places]
        try:
            for one in working:
                one.result()
        except BaseException:
            stop.set()
            for bench in places:
                bench.cancel.set()
            raise


def _told(report: Callable[[str], None], name: str, text: str) -> None:
    report(f"{name}: {text}")
