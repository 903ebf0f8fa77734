"""Defects in the certificate authority: what it signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]


def _identity_as_asked(sound: Callable[[str, Any], str]) -> Callable[[str, Any], str]:
    """Take the identity from the request instead of the token."""

    def subject_uri(token_identity: str, csr: Any) -> str:
        from cryptography import x509

        try:
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return sound(token_identity, csr)
        asked: list[str] = names.get_values_for_type(x509.UniformResourceIdentifier)
        return asked[0] if asked else sound(token_identity, csr)

    return subject_uri


DEFECTS = (
    Defect(
        "san-from-csr",
        "The CA signs whatever identity the request asks for.",
        "identity",
        "refmesh.ca.signing:subject_uri",
        _identity_as_asked,
    ),
)
