from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent import enrolment, spawn
from refmesh.agent.enrol import roots, signing_request
from refmesh.agent.enrolment import EnrolmentFailed, read_result, write_result
from refmesh.agent.settings import Settings
from refmesh.ca.signing import Keyring, check_request

KEYRING = Keyring.create()
ROOT = Path(__file__).parents[3]
IDENTITY = "spiffe://cluster.local/ns/shop/sa/cart"


def test_what_the_child_writes_the_agent_reads():
    key, csr = signing_request(IDENTITY)
    chain = KEYRING.sign(csr, IDENTITY)
    identity = read_result(write_result(1234.0, key, chain, 7))
    assert identity.key_pem.strip() == key.strip()
    assert identity.chain_pem.decode() == chain[0] + chain[1]
    assert identity.roots_pem == KEYRING.root_pem
    assert (identity.not_after, identity.generation) == (1234.0, 7)


def test_the_last_element_holds_every_root_that_is_trusted():
    key, csr = signing_request(IDENTITY)
    leaf, issuer, root = KEYRING.sign(csr, IDENTITY)
    other = Keyring.create().root_pem.decode()
    identity = read_result(write_result(1, key, (leaf, issuer, root + other)))
    assert identity.chain_pem.decode() == leaf + issuer
    assert identity.roots_pem.decode() == root + other


def test_roots_are_kept_for_the_next_enrolment(tmp_path):
    path = str(tmp_path / "roots.pem")
    settings = Settings("cart-1", "shop", "cart", "10.0.0.1", "injected", run_dir=str(tmp_path))
    assert roots(settings) == "injected"
    enrolment.keep_roots(path, b"newer")
    assert roots(settings) == "newer"
    assert [one.name for one in tmp_path.iterdir()] == ["roots.pem"]


def test_the_csr_is_one_the_ca_accepts():
    check_request(signing_request(IDENTITY)[1])


@given(st.binary(max_size=200))
def test_anything_else_is_a_failure_with_words(data):
    with pytest.raises(EnrolmentFailed, match=r"."):
        read_result(data)


def test_the_childs_words_are_kept():
    with pytest.raises(EnrolmentFailed, match="ConnectionRefusedError"):
        read_result(b"ConnectionRefusedError: nobody there\n")


@given(st.floats(0, 1), st.floats(2, 86_400))
def test_renewal_is_between_half_and_two_thirds_of_the_lifetime(jitter, lifetime):
    wait = enrolment.renewal_delay(1000 + lifetime, 1000, jitter)
    assert 0.5 * lifetime - 1e-6 <= max(wait, 0.5 * lifetime) <= max(1.0, lifetime * 2 / 3 + 1e-6)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_retries_are_bounded(attempt, jitter):
    assert 0.04 < enrolment.retry_delay(attempt, jitter) <= 15


def test_an_expired_certificate_is_renewed_soon_but_not_in_a_loop():
    assert enrolment.renewal_delay(0, 1000, 0.5) == 1.0


def test_a_child_that_cannot_be_started_ends_no_renewal(monkeypatch):
    class Ended(Exception):
        pass

    def publish(identity):
        published.append(identity.generation)
        if len(published) == 2:
            raise Ended

    def child(generation):
        key, csr = signing_request(IDENTITY)
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as stream:
            stream.write(write_result(0, key, KEYRING.sign(csr, IDENTITY), generation))
        return reading

    def spawn():
        code = refusals.pop() if refusals else 0
        if code:
            raise OSError(code, os.strerror(code))
        return child(2)

    published: list[int] = []
    refusals = [errno.EAGAIN, errno.ENOMEM, errno.EMFILE]
    monkeypatch.setattr(enrolment, "spawn", spawn)
    monkeypatch.setattr(enrolment, "retry_delay", lambda *_: 0)
    monkeypatch.setattr(enrolment, "renewal_delay", lambda *_: 0)
    with pytest.raises(Ended):
        enrolment.Enroller(publish, "", child(1))._run()
    assert published == [1, 2]
    assert not refusals


class Clocks:
    """The time of day and that of the process, which stands still while the machine is suspended."""

    def __init__(self) -> None:
        self.day, self.process, self.waits = 1e9, 50.0, list[float]()
        self.jumps: dict[int, float] = {}
        """By wait: how much further the time of day is after it."""

    def time(self) -> float:
        return self.day

    def monotonic(self) -> float:
        return self.process

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.process += seconds
        self.day += seconds + self.jumps.get(len(self.waits), 0.0)
        return False

    def clear(self) -> None:
        pass


@pytest.mark.parametrize(
    ("jumps", "waited"),
    [
        ({}, 43_200.0),
        # suspended for a day: renewed at the next look
        ({3: 86_400.0}, 90.0),
        # a clock that is set back makes it no longer
        ({3: -86_400.0}, 43_200.0),
    ],
)
def test_certificates_are_renewed_by_the_clock_that_they_go_by(monkeypatch, jumps, waited):
    clocks = Clocks()
    clocks.jumps = jumps
    monkeypatch.setattr(enrolment, "time", clocks)
    enroller = enrolment.Enroller(lambda _: None, "", -1)
    monkeypatch.setattr(enroller, "_now", clocks)
    enroller._wait(clocks.day + 43_200)
    assert sum(clocks.waits) == pytest.approx(waited)
    assert max(clocks.waits) <= 30


def test_who_is_told_to_renew_waits_no_longer():
    enroller = enrolment.Enroller(lambda _: None, "", -1)
    enroller.renew()
    enroller._wait(time.time() + 1000)
    assert not enroller._now.is_set()


def test_a_child_that_cannot_be_started_leaves_no_pipe_open(monkeypatch):
    def refuse(*_arguments, **_more):
        raise BlockingIOError(errno.EAGAIN, "no process")

    ends = os.pipe()
    monkeypatch.setattr(os, "pipe", lambda: ends)
    monkeypatch.setattr(os, "posix_spawn", refuse)
    with pytest.raises(BlockingIOError):
        spawn.spawn()
    for end in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_nothing_that_takes_time_is_imported_before_the_child_is_started():
    code = (
        "import sys; before = set(sys.modules); import refmesh.agent.__main__;"
        "print(*sorted(one for one in set(sys.modules) - before if not one.startswith('_')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = {"refmesh", "refmesh.agent", "refmesh.agent.__main__", "refmesh.agent.spawn"}
    # What `signal` itself needs, and an interpreter mostly has by then.
    assert set(found.split()) <= ours | {
        "signal",
        "enum",
        "types",
        "operator",
        "functools",
        "collections",
        "reprlib",
        "keyword",
    }


@pytest.mark.parametrize("module", ["capture", "hooks"])
def test_what_a_pods_start_waits_for_does_not_import_what_takes_longer_than_its_work(module):
    code = f"import sys, refmesh.agent.{module}; print(*sys.modules)"
    # Without site, which in a clone's environment has imported most of it already.
    run = [sys.executable, "-S", "-c", code]
    found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"typing", "dataclasses", "inspect"}.isdisjoint(found.split())
