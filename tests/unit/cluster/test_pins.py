"""What is downloaded has the digest that stands in the repository, or is not used."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from fixtures.cluster import downloads, pins
from fixtures.cluster.parts import PARTS, Download, Part
from reports.errors import EnvironmentProblem

CONTENT = b"content"
SHA256, SHA512 = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha512(CONTENT).hexdigest()
FILE, SUMS = "https://h/tool", "https://h/sums"
OTHER = "0" * 64
PART = Part(name="etcd", title="Tool", module="go.etcd.io/etcd/server/v3", packages={"tool": "m"},
            downloads={"tool": Download(FILE, SUMS)})  # fmt: skip


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_unreachable", {})
    monkeypatch.setattr(downloads, "_said", set())


class Answer(io.BytesIO):
    headers: dict[str, str]


class Web:
    """Serves these files, and remembers which were asked for."""

    def __init__(self, files: dict[str, bytes], **headers: str) -> None:
        self.files, self.headers = files, headers
        self.asked: list[str] = []

    def __call__(self, url: str) -> io.BytesIO:
        self.asked.append(url)
        answer = Answer(self.files[url])
        answer.headers = self.headers
        return answer


def got(monkeypatch: pytest.MonkeyPatch, target: Path, web: Web, pin: str, part: Part = PART) -> set[str]:
    monkeypatch.setattr(downloads, "_open", web)
    monkeypatch.setattr(pins, "listed", lambda: {FILE: pin})
    return downloads.download(part, part.packages, target, lambda _: None)


# The list


def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterable[str]:
    for architecture in ("amd64", "arm64"):
        monkeypatch.setattr("fixtures.cluster.parts.architecture", lambda found=architecture: found)
        for part in PARTS.values():
            yield from (part.filled(release.url) for release in part.downloads.values())


def test_every_file_that_is_downloaded_is_listed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    used, listed = set(addresses(monkeypatch)), set(pins.listed())
    assert not used - listed, f"pin these in {pins.FILE}, from another place than their servers, or write none"
    assert not listed - used, f"nothing downloads these any more: take them out of {pins.FILE}"


def test_every_pin_is_a_digest_and_says_where_it_was_read() -> None:
    for pin in pins.listed().values():
        assert pin == "none" or re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", pin), pin
    for block in pins.FILE.read_text(encoding="utf-8").strip().split("\n\n"):
        assert block.startswith("# "), block


def test_no_address_is_listed_twice() -> None:
    lines = [line for line in pins.FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(pins.listed())


# Its use


@pytest.mark.parametrize("pin", [f"sha256:{SHA256}", f"sha512:{SHA512}"])
def test_a_file_with_the_pinned_digest_is_kept_whatever_its_server_says_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], pin: str
) -> None:
    web = Web({FILE: CONTENT})
    assert got(monkeypatch, tmp_path, web, pin) == {"tool"}
    assert (tmp_path / "tool").read_bytes() == CONTENT
    assert web.asked == [FILE]
    assert not capsys.readouterr().err


def test_a_file_that_was_replaced_together_with_its_digest_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    web = Web({FILE: CONTENT, SUMS: SHA256.encode()})
    with pytest.raises(EnvironmentProblem) as refused:
        got(monkeypatch, tmp_path, web, f"sha256:{OTHER}")
    for named in ("tool from h ", SHA256, f"pins.txt expects {OTHER}", "fix: nothing of it was kept"):
        assert named in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_file_without_a_pin_is_checked_against_its_servers_digest_which_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert got(monkeypatch, tmp_path, Web({FILE: CONTENT, SUMS: SHA256.encode()}), "none") == {"tool"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "   tool has no pinned digest; it was checked against the one that h gives"
    assert got(monkeypatch, tmp_path, Web({FILE: b"other", SUMS: SHA256.encode()}), "none") == set()


@pytest.mark.parametrize(
    ("content", "headers", "why"),
    [
        (CONTENT[:3], {"Content-Length": "7"}, "the transfer broke off"),
        (b"", {}, "the transfer broke off"),
        (b"<html>Sign in</html>", {"Content-Type": "text/html; charset=utf-8"}, "a page came in its place"),
    ],
)
def test_what_is_no_file_at_all_is_nobodys_forgery(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    headers: dict[str, str],
    why: str,
) -> None:
    assert got(monkeypatch, tmp_path, Web({FILE: content}, **headers), f"sha256:{SHA256}") == set()
    assert capsys.readouterr().err.splitlines() == [f"   tool cannot be had from h ({why}); building Tool"]


def test_the_programs_of_one_archive_are_fetched_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("one", "unused", "two"):
            entry = tarfile.TarInfo(f"release/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    members = {"one": "release/one", "two": "./release/two"}
    release = Download(FILE, SUMS, members)
    part = Part(name="etcd", title="Tool", module=PART.module, packages=dict.fromkeys(members, "m"),
                downloads=dict.fromkeys(members, release))  # fmt: skip
    web = Web({FILE: buffer.getvalue()})
    pin = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    assert got(monkeypatch, tmp_path, web, pin, part) == {"one", "two"}
    assert web.asked == [FILE]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "one", "two": "two"}
