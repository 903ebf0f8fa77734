"""Tokens of an issuer of our own: JSON Web Tokens signed with RS256, and the key set that verifies them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["Issuer", "unsigned"]


class Issuer:
    """A key pair, and what is signed with it."""

    def __init__(self, key_id: str = "one") -> None:
        self._id = key_id
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def key_set(self) -> str:
        """The public key as a JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self._id,
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }
        return json.dumps({"keys": [key]})

    def token(self, claims: Mapping[str, Any]) -> str:
        """Signed claims."""
        head = {"alg": "RS256", "typ": "JWT", "kid": self._id}
        content = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
        signature = self._key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{content}.{_part(signature)}"


def unsigned(claims: Mapping[str, Any]) -> str:
    """Claims that nobody signed, and a head that says that this is as it should be."""
    return f"{_part(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{_part(json.dumps(claims).encode())}."


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _part(value.to_bytes((value.bit_length() + 7) // 8, "big"))
