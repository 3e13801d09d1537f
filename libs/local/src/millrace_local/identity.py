"""As whom a server runs: a server that refuses root is handed to an ordinary user."""

import os
import pwd
from typing import TypedDict

from millrace_local.errors import LocalServerError


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that change the user of a child; empty for our own."""

    user: int
    group: int
    extra_groups: list[int]


def identity_of(user: str | None) -> Identity:
    """The child is `user` with its own group and no other, so that nothing of root's is left; None is ourselves."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def unprivileged_user() -> str | None:
    """Who runs the server: PostgreSQL refuses root, so root hands it to `postgres` or `nobody`; else None (us)."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return name
    raise LocalServerError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody`: run this as an ordinary user."
    )
