from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.images.layout import ENVIRONMENT
from fixtures.images.oci import Layer, architecture, documents, write_archive

REFERENCE = "meshproof.local/meshproof:0123456789abcdef"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tarfile.TarFile]:
    layers = []
    for name in ("base", "product"):
        data = name.encode() * 100
        (tmp_path / name).write_bytes(data)
        layers.append(Layer(name, tmp_path / name, hashlib.sha256(data).hexdigest(), len(data)))
    write_archive(tmp_path / "image.tar", REFERENCE, layers, {"org.opencontainers.image.title": "meshproof"})
    with tarfile.open(tmp_path / "image.tar") as tar:
        yield tar


def read(archive: tarfile.TarFile, name: str) -> bytes:
    held = archive.extractfile(name)
    assert held is not None
    return held.read()


def follow(archive: tarfile.TarFile, descriptor: dict[str, Any]) -> bytes:
    """The blob that a descriptor names, having proved its digest and size."""
    kind, _, digest = descriptor["digest"].partition(":")
    data = read(archive, f"blobs/{kind}/{digest}")
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) == descriptor["size"]
    return data


def test_index_manifest_config_and_layers_agree(archive: tarfile.TarFile) -> None:
    assert json.loads(read(archive, "oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    entry, again = json.loads(read(archive, "index.json"))["manifests"]
    assert again == entry | {"annotations": again["annotations"]}
    assert again["annotations"]["io.containerd.image.name"] == "meshproof.local/meshproof:sample"
    assert entry["platform"] == {"architecture": architecture(), "os": "linux"}
    assert entry["annotations"]["io.containerd.image.name"] == REFERENCE
    manifest = json.loads(follow(archive, entry))
    config = json.loads(follow(archive, manifest["config"]))
    blobs = [follow(archive, layer) for layer in manifest["layers"]]
    assert [blob[:4] for blob in blobs] == [b"base", b"prod"]  # lowest first
    # the layers are not compressed, so the digest of each is that of its content too
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert len(config["history"]) == len(blobs)
    assert config["architecture"] == architecture()


def test_docker_finds_the_same_image_by_its_own_manifest(archive: tarfile.TarFile) -> None:
    (docker,) = json.loads(read(archive, "manifest.json"))
    entry, _ = json.loads(read(archive, "index.json"))["manifests"]
    manifest = json.loads(follow(archive, entry))
    assert docker["RepoTags"] == [REFERENCE, "meshproof.local/meshproof:sample"]
    assert docker["Config"] == "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")
    assert docker["Layers"] == [
        "blobs/sha256/" + layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]
    ]


def test_the_archive_holds_nothing_twice_and_nothing_else(archive: tarfile.TarFile) -> None:
    names = archive.getnames()
    assert len(names) == len(set(names)) == 7  # three small files, manifest, config, two layers


def test_documents_depend_on_their_input_alone() -> None:
    layer = Layer("base", Path("/anywhere"), "0" * 64, 10)
    moved = Layer("base", Path("/elsewhere"), "0" * 64, 10)
    assert documents(REFERENCE, [layer], {}) == documents(REFERENCE, [moved], {})
    assert documents(REFERENCE, [layer], {}) != documents(REFERENCE, [layer], {"a": "b"})


def test_the_environment_is_that_of_the_layout() -> None:
    found = documents(REFERENCE, [], {})
    config = next(json.loads(data) for data in found.values() if b"rootfs" in data)
    assert dict(line.split("=", 1) for line in config["config"]["Env"]) == ENVIRONMENT
