"""Reads the name by which a tenant knows a session and gives the id under which it is kept, and the other way round."""

import secrets

# No name of a session and none of a tenant has it, so where one ends and the other begins is never in doubt.
BETWEEN = "/"


def prefix_of(tenant: str) -> str:
    """Give how the ids of a tenant's sessions begin; without a tenant an id is the session's name."""
    return f"{tenant}{BETWEEN}" if tenant else ""


def shown(id_: str) -> str:
    """Give the name of a session that is kept under an id: all that an answer may tell of it."""
    return id_.rpartition(BETWEEN)[2]


def in_tenant(id_: str, prefix: str) -> bool:
    """Say whether an id begins with a tenant's prefix, and perhaps more, and is of that very tenant."""
    return id_.startswith(prefix) and BETWEEN not in id_[len(prefix) :]


def new_id() -> str:
    """Give a name that nobody can guess."""
    return secrets.token_urlsafe(16)
