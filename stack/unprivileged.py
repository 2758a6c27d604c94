"""The system user that PostgreSQL runs as when we are root: it refuses to run as root itself.

An existing low user is taken rather than one created: a development tool leaves no trace in
/etc/passwd. A user named `carillon`, where the machine has one, is preferred.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

CANDIDATES = ("carillon", "daemon", "nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine that a child process runs as."""

    name: str
    uid: int
    gid: int


def account_if_root() -> Account | None:
    """The account PostgreSQL must run as, or None where we are not root. Raises StackError if none exists."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise StackError(
        "PostgreSQL does not run as root, and this machine has none of the users "
        f"{', '.join(CANDIDATES)}. Create one (useradd --system carillon) or run as a normal user."
    )


def may_reach(path: Path, account: Account) -> bool:
    """Whether `account` may enter every folder on the way to `path` (which need not exist yet)."""
    folders = [folder for folder in path.absolute().parents if folder.exists()]
    return all(_may_enter(folder, account) for folder in folders)


def _may_enter(folder: Path, account: Account) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
