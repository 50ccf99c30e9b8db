"""Users in SQLite. Knows nothing of gRPC: what goes wrong is one of four exceptions."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

PAGE = 100

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    created_at REAL NOT NULL,
    version INTEGER NOT NULL DEFAULT 1
)
"""


class StoreError(Exception):
    """Something that the caller may know."""


class Invalid(StoreError):
    """The user cannot be kept as it is."""


class NotFound(StoreError):
    """Nobody has that id."""


class Taken(StoreError):
    """Somebody else has that address."""


class Stale(StoreError):
    """The user has changed since the caller read it."""


class StoredUser(NamedTuple):
    """A row."""

    id: int
    name: str
    email: str
    created_at: float
    version: int


class UserStore:
    """The users in a file, or in memory. Its methods block, and may be called from any thread."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def get(self, id: int) -> StoredUser:
        """One user. Raises NotFound."""
        with self._lock:
            return self._get(id)

    def create(self, users: Iterable[tuple[str, str]]) -> list[StoredUser]:
        """Keep users, by name and address: all of them, or none. Raises Invalid and Taken."""
        checked = [(_name(name), _email(email)) for name, email in users]
        # The connection as a context manager is a transaction.
        with self._lock, self._database:
            return [self._insert(name, email) for name, email in checked]

    def update(self, id: int, *, name: str | None, email: str | None, version: int = 0) -> StoredUser:
        """Change what is not None. Raises NotFound, Invalid, Taken and, for another ``version`` than 0, Stale."""
        with self._lock, self._database:
            kept = self._get(id)
            if version and version != kept.version:
                raise Stale(f"user {id} has version {kept.version} by now, not {version}")
            changed = (
                kept.name if name is None else _name(name),
                kept.email if email is None else _email(email),
            )
            try:
                self._database.execute(
                    "UPDATE users SET name = ?, email = ?, version = version + 1 WHERE id = ?", (*changed, id)
                )
            except sqlite3.IntegrityError:
                raise Taken(f"{email} is taken") from None
            return self._get(id)

    def delete(self, id: int) -> None:
        """Forget a user. Raises NotFound."""
        with self._lock, self._database:
            if self._database.execute("DELETE FROM users WHERE id = ?", (id,)).rowcount == 0:
                raise NotFound(f"there is no user {id}")

    def list(self, prefix: str = "", limit: int = 0) -> Iterator[StoredUser]:
        """Users in the order of their ids, read page by page: the lock is never kept while somebody is slow."""
        last, left = 0, limit if limit > 0 else None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            with self._lock:
                rows = self._database.execute(
                    "SELECT id, name, email, created_at, version FROM users"
                    " WHERE id > ? AND substr(name, 1, ?) = ? ORDER BY id LIMIT ?",
                    (last, len(prefix), prefix, size),
                ).fetchall()
            yield from map(StoredUser._make, rows)
            if len(rows) < size:
                return
            last = rows[-1][0]
            left = None if left is None else left - len(rows)

    def _get(self, id: int) -> StoredUser:
        row = self._database.execute(
            "SELECT id, name, email, created_at, version FROM users WHERE id = ?", (id,)
        ).fetchone()
        if row is None:
            raise NotFound(f"there is no user {id}")
        return StoredUser._make(row)

    def _insert(self, name: str, email: str) -> StoredUser:
        try:
            cursor = self._database.execute(
                "INSERT INTO users (name, email, created_at) VALUES (?, ?, ?)", (name, email, time.time())
            )
        except sqlite3.IntegrityError:
            raise Taken(f"{email} is taken") from None
        assert cursor.lastrowid is not None
        return self._get(cursor.lastrowid)


def _name(name: str) -> str:
    if not name.strip() or len(name) > 80:
        raise Invalid("a name has 1 to 80 characters")
    return name.strip()


def _email(email: str) -> str:
    local, at, domain = email.strip().rpartition("@")
    if not at or not local or "." not in domain or len(email) > 254:
        raise Invalid(f"{email[:80]!r} is no address")
    return email.strip()
