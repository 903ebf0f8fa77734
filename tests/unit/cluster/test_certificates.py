from __future__ import annotations

import base64
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fixtures.cluster.embedded.certificates import Authority, client_config, signing_pair


def test_a_client_is_who_it_says_and_cannot_serve() -> None:
    authority = Authority("test")
    certificate = x509.load_pem_x509_certificate(authority.issue("user", ["one", "two"]).certificate)
    root = x509.load_pem_x509_certificate(authority.pair.certificate)
    certificate.verify_directly_issued_by(root)
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [name.value for name in names] == ["one", "two"]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "user"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_is_known_by_its_names_and_addresses() -> None:
    pair = Authority("test").issue("api", hosts=["10.0.0.1", "kubernetes"])
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in usage


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    Authority("test").pair.write(tmp_path, "ca")
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_the_signing_keys_belong_together() -> None:
    private, public = signing_pair()
    derived = load_pem_private_key(private, None).public_key()
    assert derived == load_pem_public_key(public)


def test_a_kubeconfig_holds_all_it_needs() -> None:
    authority = Authority("test")
    pair = authority.issue("user")
    config = client_config("c", "https://10.0.0.1:6443", authority.pair.certificate, pair)
    assert config["current-context"] == config["contexts"][0]["name"] == "c"
    assert base64.b64decode(config["users"][0]["user"]["client-key-data"]) == pair.key
    assert config["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
