"""JSON Web Key Sets: public keys only, and only such as Envoy can use, which refuses a whole listener otherwise."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["key_set_problem", "usable_keys"]

_MAX_KEYS = 100
_CURVES = {"P-256": 32, "P-384": 48, "P-521": 66}
_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_SHAPE = 'must be a JSON Web Key Set: {"keys": [...]}'


def key_set_problem(text: str) -> str:
    """Why a text is no set of usable public keys; empty for a good one."""
    keys = _keys(text)
    if keys is None:
        return _SHAPE
    if not 0 < len(keys) <= _MAX_KEYS:
        return f"must hold 1 to {_MAX_KEYS} keys"
    return next(
        (f"has a key at {index} that {problem}" for index, key in enumerate(keys) if (problem := _problem(key))), ""
    )


def usable_keys(text: str) -> str:
    """The usable keys of a set, as a set; empty where there are none. Issuers also publish keys for other purposes."""
    keys = [key for key in (_keys(text) or [])[:_MAX_KEYS] if not _problem(key)]
    return json.dumps({"keys": keys}, sort_keys=True) if keys else ""


def _keys(text: str) -> list[Any] | None:
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return keys if isinstance(keys, list) else None


def _problem(key: Any) -> str:
    if not isinstance(key, dict):
        return "is no object"
    if "d" in key or key.get("kty") == "oct":
        return "is private: everybody who may read it can sign tokens"
    if not all(isinstance(key.get(name, ""), str) for name in ("kid", "alg", "use")):
        return "has a kid, alg or use that is no text"
    algorithm = key.get("alg", "")
    if key.get("kty") == "RSA":
        return _rsa(key) or _unfit(algorithm[:2], "RS", "PS")
    if key.get("kty") == "EC":
        return _elliptic(key) or _unfit(algorithm, _ALGORITHMS[key["crv"]])
    if key.get("kty") == "OKP" and key.get("crv") == "Ed25519":
        return _unfit(algorithm, "EdDSA") if len(_bytes(key, "x")) == 32 else "has no x of 32 bytes"
    return "is not of a known kind: kty RSA, EC or OKP with Ed25519"


def _unfit(algorithm: str, *fitting: str) -> str:
    return "" if algorithm in {"", *fitting} else f"has an alg for other keys; its own is {' or '.join(fitting)}"


def _rsa(key: Mapping[str, Any]) -> str:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    exponent, modulus = (int.from_bytes(_bytes(key, name)) for name in ("e", "n"))
    if not 2048 <= modulus.bit_length() <= 8192:
        return "has no n of 2048 to 8192 bits"
    try:
        RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return "is no RSA key"
    return ""


def _elliptic(key: Mapping[str, Any]) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec

    size = _CURVES.get(str(key.get("crv")))
    if size is None:
        return f"is on no known curve: crv {', '.join(_CURVES)}"
    curve = {32: ec.SECP256R1(), 48: ec.SECP384R1(), 66: ec.SECP521R1()}[size]
    x, y = _bytes(key, "x"), _bytes(key, "y")
    try:
        ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:
        return "is no point on its curve"
    return "" if len(x) == len(y) == size else f"has no x and y of {size} bytes"


def _bytes(key: Mapping[str, Any], name: str) -> bytes:
    """A number of the key; empty where it is missing or no base64url."""
    text = key.get(name)
    if not isinstance(text, str) or not text.isascii():
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
