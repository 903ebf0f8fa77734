"""Names that speak of a secret, and logs that hold one: the mesh's bug report and the suite's bundles know all of them.

The two take secrets out by code of their own, because the suite imports nothing of refmesh.
"""

from __future__ import annotations

__all__ = ["LOGS", "SPOKEN"]

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

LOGS = (
    ('level=info msg="password=hunter2 rejected"', 'level=info msg="password=# rejected"'),
    ('{"msg":"token=hunter2 refused"}', '{"msg":"token=# refused"}'),
    ("env: DB_PASSWORD=hunter2", "env: DB_PASSWORD=#"),
    ("error: password: hunter2", "error: password: #"),
    ("warn: api_key=hunter2, gone", "warn: api_key=#, gone"),
    ("run --from-literal=password=hunter2 now", "run --from-literal=password=# now"),
    ('{"password":"hunter2 with \\" blanks","user":"x"}', '{"password":"#","user":"x"}'),
    ('password="hunter2 with blanks" user=x', 'password="#" user=x'),
    ("password='h2' user=x", "password='#' user=x"),
    (r'{"said":"{\"token\":\"hunter2 with \\\" blanks\",\"a\":1}"}', r'{"said":"{\"token\":\"#\",\"a\":1}"}'),
    ('password="hunter2 cut off\nuser=x', 'password="#\nuser=x'),
    ("password:    hunter2\nuser: x", "password:    #\nuser: x"),
    ("authorization: ApiKey hunter2 x\nuser: y", "authorization: #\nuser: y"),
    ('authorization: Digest username="x", response="hunter2"\nuser: y', "authorization: #\nuser: y"),
    ('{"authorization":"ApiKey hunter2","user":"y"}', '{"authorization":"#","user":"y"}'),
    ("cookie: theme=dark; sid=hunter2", "cookie: #"),
    ("AccountName=x;AccountKey=aHVudGVyMg/aHVudGVyMg/==;End=y", "AccountName=x;AccountKey=#;End=y"),
    ('password="" user=x', 'password="" user=x'),
)
"""What is logged, and what is left of it: `#` stands where something was taken out."""
