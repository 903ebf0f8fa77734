"""Whatever users' Secrets hold: to Envoy goes what was judged, as one writes it, and nothing stops the reader."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refmesh.config.certificates import certificate_of
from tests.examples import at_least
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_ingress.doorways import key_pair

GOOD = key_pair()
PARTS = {
    "tls.crt": GOOD.chain.encode(),
    "tls.key": GOOD.key.encode(),
    "ca.crt": TestAuthority().trust_bundle_pem(),
}
BLOCKS = re.compile(r"(?:-----BEGIN ([A-Z ]+)-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END \1-----\n)+")
NAMES = st.sampled_from([*PARTS, "cacert", "ca.crl"])


def changed(der: bytes, at: int, bit: int) -> bytes:
    return der[:at] + bytes([der[at] ^ 1 << bit]) + der[at + 1 :]


def encoded(parts: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, str]:
    """The data of a real Secret with some of it changed: a bit of the DER, the text, base64, or what stands where."""
    parts = dict(PARTS)
    for name in draw(st.sets(st.sampled_from([*PARTS]), max_size=2)):
        head, *lines, tail = parts[name].decode().splitlines()
        der = base64.b64decode("".join(lines))
        der = changed(der, draw(st.integers(0, len(der) - 1)), draw(st.integers(0, 7)))
        parts[name] = f"{head}\n{base64.encodebytes(der).decode()}{tail}\n".encode()
    for name in draw(st.sets(NAMES, max_size=1)):
        parts[name] = draw(st.binary(max_size=20) | st.sampled_from([*PARTS.values()]))
    for name in draw(st.sets(NAMES, max_size=1)):
        at = draw(st.integers(0, 400))
        parts[name] = parts.get(name, b"")[:at] + draw(st.binary(max_size=3)) + parts.get(name, b"")[at:]
    found = encoded(parts)
    for name in draw(st.sets(NAMES, max_size=1)):
        found[name] = draw(st.text(max_size=5) | st.just("A" * 500_000))
    return found


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@at_least(300)
@given(damaged())
@example(encoded(PARTS | {name: b"\x00" + part for name, part in PARTS.items()}))
def test_of_a_damaged_secret_nothing_goes_on_but_what_was_judged(data: dict[str, str]) -> None:
    found = certificate_of({"data": data})
    assert not found.roots or BLOCKS.fullmatch(found.roots)
    if found.problem:
        assert (found.chain, found.key) == ("", "")
        return
    assert BLOCKS.fullmatch(found.chain)
    assert BLOCKS.fullmatch(found.key)
    again = encoded({"tls.crt": found.chain.encode(), "tls.key": found.key.encode()})
    assert certificate_of({"data": again}) == replace(found, roots="", roots_problem="")
