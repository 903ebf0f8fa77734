from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.images.plan import File, Plan
from fixtures.images.store import Part, Store


class Source:
    """One file as a part of an image, counting how often it was planned."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.planned = 0
        file.write_text("x = 1\n")
        os.utime(file, (1000, 1000))

    def plan(self) -> Plan:
        self.planned += 1
        plan = Plan()
        plan.add("/app/a.py", File(self.file))
        return plan

    def part(self, stamp: str = "stamp") -> Part:
        return Part("base", stamp, self.plan)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "a.py")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def test_nothing_is_read_again_while_nothing_changed(source: Source, store: Store) -> None:
    first = store.content(source.part())
    assert store.content(source.part()) == first
    assert source.planned == 1


def test_a_touched_file_is_read_again_and_gives_the_same_key(source: Source, store: Store) -> None:
    first = store.content(source.part())
    os.utime(source.file, (2000, 2000))
    assert store.content(source.part()) == first
    assert source.planned == 2


def test_an_edited_file_gives_another_key(source: Source, store: Store) -> None:
    first = store.content(source.part())
    source.file.write_text("x = 2\n")  # of the same size
    assert store.content(source.part()) != first


def test_a_damaged_record_is_made_again(source: Source, store: Store) -> None:
    first = store.content(source.part())
    (record,) = (store.root / "records").iterdir()
    record.write_text('{"content": ')
    assert store.content(source.part()) == first


def test_a_layer_cut_short_on_disk_is_packed_again(source: Source, store: Store) -> None:
    content = store.content(source.part())
    first = store.layer(source.part(), content)
    assert store.layer(source.part(), content) == first
    first.path.write_bytes(b"")
    again = store.layer(source.part(), content)
    assert again == first
    assert first.path.stat().st_size == first.size


def test_an_archive_that_fails_leaves_nothing(store: Store) -> None:
    def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        store.put_archive("abc", fail)
    assert list((store.root / "archives").iterdir()) == []


def test_sweeping_keeps_what_is_used_and_what_may_be_on_its_way(source: Source, store: Store) -> None:
    old = store.layer(source.part(), store.content(source.part()))
    source.file.write_text("x = 22\n")
    used = store.layer(source.part(), store.content(source.part()))
    archives = [store.put_archive(str(number), lambda target: target.touch()) for number in range(5)]
    for number, archive in enumerate(archives):
        os.utime(archive, (5000 + number, 5000 + number))
    os.utime(old.path, (5000, 5000))
    os.utime(used.path, (5000, 5000))

    store.sweep([used], now=5100.0)
    assert old.path.exists()
    assert all(archive.exists() for archive in archives)

    store.sweep([used], now=9000.0)
    assert not old.path.exists()
    assert used.path.exists()
    assert [archive.exists() for archive in archives] == [False, False, True, True, True]
