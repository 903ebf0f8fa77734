from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from fixtures.cluster.embedded import loading
from fixtures.cluster.embedded.archive import write_archive
from fixtures.cluster.embedded.loading import contents, load_archive, slim
from reports.errors import EnvironmentProblem, UsageProblem


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(os.urandom(2 << 20))
    write_archive(tmp_path / "image.tar", {"one.local/a:1": program, "one.local/b:1": program}, "amd64")
    return tmp_path / "image.tar"


def test_an_archive_is_the_same_for_the_same_input(archive: Path, tmp_path: Path) -> None:
    images = dict.fromkeys(("one.local/a:1", "one.local/b:1"), tmp_path / "program")
    write_archive(tmp_path / "again.tar", images, "amd64")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_an_archive_says_what_it_holds(archive: Path) -> None:
    held = contents(archive)
    assert held is not None
    assert set(held.images) == {"one.local/a:1", "one.local/b:1"}
    assert set(held.images.values()) <= set(held.blobs)
    with tarfile.open(archive) as content:
        names = content.getnames()
    assert len(names) == len(set(names))


def test_known_layers_are_left_out_and_the_rest_is_not(archive: Path) -> None:
    held = contents(archive)
    assert held is not None
    sink = io.BytesIO()
    slim(archive, set(held.blobs), sink)
    assert len(sink.getvalue()) < 200_000
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as content:
        names = set(content.getnames())
    assert {"index.json", "oci-layout"} <= names
    large = {digest for digest, size in held.blobs.items() if size > 1 << 20}
    assert len(names) == len(held.blobs) - len(large) + 2
    sink = io.BytesIO()
    slim(archive, set(), sink)
    assert len(sink.getvalue()) > 2 << 20


@pytest.mark.parametrize("text", [b"", b"no archive", b"\0" * 2048])
def test_what_is_no_oci_archive_is_sent_whole(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(text)
    assert contents(path) is None


def fake_ctr(tmp_path: Path, images: str, blobs: str = "", code: int = 0) -> list[str]:
    """A stand-in that lists what it is told to, keeps what it is to import, and ends with `code`."""
    script = tmp_path / "ctr"
    script.write_text(
        "#!/bin/sh\n"
        f'case "$1 $2" in "images list") cat {tmp_path}/images;; "content list") cat {tmp_path}/blobs;;\n'
        f'"images import") cat > {tmp_path}/sent; echo "first line" >&2; echo "the reason" >&2; exit {code};; esac\n'
    )
    script.chmod(0o755)
    (tmp_path / "images").write_text("REF TYPE DIGEST\n" + images)
    (tmp_path / "blobs").write_text(blobs)
    return [str(script)]


def test_what_a_node_has_is_not_sent(archive: Path, tmp_path: Path) -> None:
    held = contents(archive)
    assert held is not None
    lines = "".join(f"{name} type {digest} 1 MiB\n" for name, digest in held.images.items())
    load_archive("one", archive, fake_ctr(tmp_path, lines))
    assert not (tmp_path / "sent").exists()


def test_a_changed_image_is_sent_without_the_layers_that_are_there(archive: Path, tmp_path: Path) -> None:
    held = contents(archive)
    assert held is not None
    lines = "".join(f"{name} type sha256:other 1 MiB\n" for name in held.images)
    load_archive("one", archive, fake_ctr(tmp_path, lines, "\n".join(held.blobs)))
    assert (tmp_path / "sent").stat().st_size < 200_000


def test_an_import_that_fails_says_why(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"the cluster one cannot import .*image.tar: the reason"):
        load_archive("one", archive, fake_ctr(tmp_path, "", code=1))


def test_an_archive_that_cannot_be_read_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="cannot be read"):
        contents(tmp_path / "missing.tar")


def test_an_image_without_a_name_is_sent_whole(tmp_path: Path) -> None:
    path = tmp_path / "nameless.tar"
    with tarfile.open(path, "w") as content:
        data = json.dumps({"manifests": [{"digest": "sha256:0"}]}).encode()
        entry = tarfile.TarInfo("index.json")
        entry.size = len(data)
        content.addfile(entry, io.BytesIO(data))
    assert contents(path) is None
    load_archive("one", path, fake_ctr(tmp_path, ""))
    assert (tmp_path / "sent").read_bytes() == path.read_bytes()
    assert loading.contents(path) is None
