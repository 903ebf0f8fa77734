from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from fixtures.images import prometheus


def test_the_image_is_the_program_and_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "prometheus-v1-0123" / "prometheus"
    program.parent.mkdir()
    program.write_bytes(b"the program")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(prometheus, "program", lambda name: {"prometheus": program}[name])
    built = prometheus.build_prometheus()
    assert built.reference.startswith("meshproof.local/prometheus:v3.")
    with tarfile.open(built.path) as archive:

        def read(name: str) -> bytes:
            found = archive.extractfile(name)
            assert found is not None
            return found.read()

        (image,) = json.loads(read("manifest.json"))
        assert built.reference in image["RepoTags"]
        assert json.loads(read(image["Config"]))["config"]["Entrypoint"] == ["/bin/prometheus"]
        with archive.extractfile(image["Layers"][0]) as layer, tarfile.open(fileobj=layer) as files:  # type: ignore[union-attr]
            entry = files.getmember("bin/prometheus")
            assert entry.mode & 0o111
    before = built.path.stat().st_ino
    assert prometheus.build_prometheus() == built
    assert built.path.stat().st_ino == before
