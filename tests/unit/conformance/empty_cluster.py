"""What a session of the suite asks for, on a cluster that holds nothing: for tests of the session itself."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace


class Kube(SimpleNamespace):
    """A cluster with nothing in it."""

    @staticmethod
    def connect(*_: object) -> Kube:
        return Kube(host="h", version="1", get=lambda *_, **__: None, list=lambda *_, **__: [])


class Keeper(SimpleNamespace):
    """Whose grounds are there at once."""

    def __init__(self, *_: object, close: Callable[[], None] = lambda: None, **__: object) -> None:
        super().__init__(begin=lambda _: None, ensure=lambda _: None, release=lambda _: None, close=close)
