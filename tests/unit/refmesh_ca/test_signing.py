from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given
from hypothesis import strategies as st

from refmesh.ca import signing
from refmesh.ca.signing import BadRequest, Keyring, LeafPolicy, lifetime
from tests.examples import at_least
from tests.unit.refmesh_ca.helpers import IDENTITY, csr

KEYRING = Keyring.create()


def leaf_of(chain: tuple[str, ...]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain[0].encode())


def uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_chain_is_leaf_issuer_root_each_signed_by_the_next():
    leaf, issuer, root = (x509.load_pem_x509_certificate(pem.encode()) for pem in KEYRING.sign(csr(), IDENTITY))
    leaf.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)


def test_identity_comes_from_the_token_never_from_the_csr():
    foreign = "spiffe://cluster.local/ns/bank/sa/vault"
    assert uris(leaf_of(KEYRING.sign(csr(uri=foreign), IDENTITY))) == [IDENTITY]


def test_seam_for_the_defect_is_used(monkeypatch):
    monkeypatch.setattr(signing, "subject_uri", lambda _identity, _csr: "spiffe://other/x")
    assert uris(leaf_of(KEYRING.sign(csr(), IDENTITY))) == ["spiffe://other/x"]


def test_leaf_is_no_ca_and_serves_both_sides():
    leaf = leaf_of(KEYRING.sign(csr(), IDENTITY))
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("wanted", "lifetime"),
    [
        (0, timedelta(hours=24)),
        (-5, timedelta(hours=24)),
        (1, timedelta(seconds=10)),
        (300, timedelta(minutes=5)),
        (86_400, timedelta(hours=24)),
        (86_401, timedelta(hours=24)),
        (2**62, timedelta(hours=24)),
    ],
)
def test_lifetime_is_capped_and_backdated(wanted, lifetime):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    leaf = leaf_of(Keyring.create().sign(csr(), IDENTITY, wanted, now=now))
    assert leaf.not_valid_after_utc - now == lifetime
    assert now - leaf.not_valid_before_utc == timedelta(minutes=2)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_lifetime_stays_within_bounds_for_any_wish(wanted):
    policy = LeafPolicy()
    assert policy.minimum <= lifetime(policy, wanted) <= policy.maximum


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_good_curves_are_accepted(curve):
    assert KEYRING.sign(csr(ec.generate_private_key(curve)), IDENTITY)


def test_rsa_2048_is_accepted():
    assert KEYRING.sign(csr(rsa.generate_private_key(65537, 2048)), IDENTITY)


@pytest.mark.parametrize("curve", [ec.SECP521R1(), ec.SECP256K1()])
def test_other_curves_are_refused(curve):
    with pytest.raises(BadRequest, match="curve"):
        KEYRING.sign(csr(ec.generate_private_key(curve)), IDENTITY)


def test_small_rsa_keys_are_refused():
    with pytest.raises(BadRequest, match="2048"):
        KEYRING.sign(csr(rsa.generate_private_key(65537, 1024)), IDENTITY)


def test_ed25519_is_refused():
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    with pytest.raises(BadRequest, match="ECDSA"):
        KEYRING.sign(request.public_bytes(serialization.Encoding.PEM).decode(), IDENTITY)


def test_a_csr_signed_by_another_key_is_refused():
    def der(pem: str) -> bytes:
        return base64.b64decode("".join(pem.splitlines()[1:-1]))

    forged = bytearray(der(csr()))
    forged[-1] ^= 1
    pem = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(forged).decode()
    with pytest.raises(BadRequest, match=r"signature|readable"):
        KEYRING.sign(pem + "-----END CERTIFICATE REQUEST-----\n", IDENTITY)


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda body: f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n"))
def test_garbage_is_refused_with_a_sentence(text):
    with pytest.raises(BadRequest):
        KEYRING.sign(text, IDENTITY)


GOOD = x509.load_pem_x509_csr(csr(uri=IDENTITY).encode())
DER = GOOD.public_bytes(serialization.Encoding.DER)


@st.composite
def damaged(draw):
    """A real request with some bytes changed, cut out, put in or doubled; as long as a request may be, or longer."""
    found = bytearray(DER)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "end", "long"]))
        if kind == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del found[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            found[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif kind == "end":
            del found[at:]
        else:
            found[at:at] = b"\x30\x80" * draw(st.sampled_from([100, 5_000, 20_000]))
    return bytes(found)


@at_least(300)
@given(damaged())
@example(DER.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1))  # a version that there is not
def test_a_damaged_csr_is_refused_or_signed_for_the_key_that_it_proves(der):
    pem = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der).decode()
    try:
        chain = KEYRING.sign(pem + "-----END CERTIFICATE REQUEST-----\n", IDENTITY)
    except BadRequest:
        return
    leaf = leaf_of(chain)
    assert uris(leaf) == [IDENTITY]
    assert leaf.public_key() == x509.load_der_x509_csr(der).public_key() == GOOD.public_key()


def test_a_huge_csr_is_refused_before_it_is_parsed():
    with pytest.raises(BadRequest, match="larger"):
        KEYRING.sign("x" * 1_000_000, IDENTITY)


def test_dump_and_load_keep_everything():
    again = Keyring.load(KEYRING.dump())
    assert again.dump() == KEYRING.dump()
    x509.load_pem_x509_certificate(again.sign(csr(), IDENTITY)[0].encode())


def test_load_names_what_is_missing():
    data = KEYRING.dump()
    del data["ca-key.pem"]
    with pytest.raises(ValueError, match=r"ca-key\.pem"):
        Keyring.load(data)


def test_load_refuses_an_issuer_of_another_root():
    data = KEYRING.dump() | {"root-cert.pem": Keyring.create().dump()["root-cert.pem"]}
    with pytest.raises(ValueError, match="cannot be read"):
        Keyring.load(data)
