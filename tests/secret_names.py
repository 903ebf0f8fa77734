"""Names that speak of a secret: both the mesh's bug report and the suite's bundles have to know all of them.

The two take secrets out by code of their own, because the suite imports nothing of refmesh.
"""

from __future__ import annotations

__all__ = ["SPOKEN"]

SPOKEN = (
    "AWS_SECRET_ACCESS_KEY",
    "SECRET_KEY",
    "DJANGO_SECRET_KEY",
    "SECRET_KEY_BASE",
    "ENCRYPTION_KEY",
    "FERNET_KEY",
    "PASSWORD_1",
    "DB_PASS",
    "db_pass",
    "mysqlPass",
    "CLIENT_SECRET",
    "TOKENS",
    "passwords",
    "credential",
)
