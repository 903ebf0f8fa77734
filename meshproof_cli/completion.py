"""What a shell offers for a flag's value: the words of the catalogues, read when somebody presses the key."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["anything", "claims", "exemptions", "formats", "meshes", "parts", "profiles"]


def _one(words: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A completion by these words."""
    return lambda incomplete: [one for one in words() if one.startswith(incomplete)]


def _several(words: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """The same after the last comma, and in any case, as their flags take them: a shell keeps the letters typed."""

    def offered(incomplete: str) -> list[str]:
        start = incomplete.rfind(",") + 1
        begun = incomplete[start:].lower()
        return [incomplete + one[len(begun) :] for one in words() if one.lower().startswith(begun)]

    return offered


def _meshes() -> Iterable[str]:
    from conformance.adapters import known
    from meshproof_cli.settings import AUTO

    return (*known(), AUTO)


def _profiles() -> Iterable[str]:
    from conformance.profiles import PROFILES

    return (one.name for one in PROFILES)


def _parts() -> Iterable[str]:
    """Checks and their groups."""
    from conformance.catalogue import checks

    every = checks()
    return (*dict.fromkeys(one.group for one in every), *(one.id for one in every))


def _anything() -> Iterable[str]:
    """What `run` takes beside the checks."""
    from chaos import catalogue
    from meshproof_cli.run import LATENCY

    return (*_parts(), *(str(one["id"]) for one in catalogue().experiments), LATENCY, "conformance", "chaos", "latency")


def _features() -> Iterable[str]:
    from conformance.selection import features

    return features()


def _exemptions() -> Iterable[str]:
    return (*_parts(), *_features())


def _formats() -> Iterable[str]:
    from meshproof_cli.rewrite import OTHERS
    from reports.writers import FORMATS

    return (*FORMATS, *OTHERS)


meshes = _one(_meshes)
profiles = _one(_profiles)
formats = _one(_formats)
parts = _several(_parts)
anything = _several(_anything)
claims = _several(_features)
exemptions = _several(_exemptions)
