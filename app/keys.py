"""API keys: what each may do, the file that keeps them, and how a request's key is checked.

The file is `keys.json` in the library's folder, for its owner alone. It is not in the catalog, because a copy of the
records must not be a way in, and because a request without a key has to be refused without asking a database.
Nothing in the file lets anybody in: keys are random, and it holds the SHA-256 of each and of the cookie made from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

logger = logging.getLogger(__name__)

Scope = Literal["metrics", "read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""`metrics` is for /metrics alone. Each of the others includes the one before it; `admin` includes all."""

KEYS_FILE = "keys.json"
MIN_LENGTH = 16
"""Characters that a key has at least."""

_PREFIX = "visem_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CHECK_SECONDS = 0.5  # how often the file is looked at


@dataclass(frozen=True)
class Key:
    """A key as it is kept: without the secret."""

    name: str
    scope: Scope
    created_at: str
    key_sha256: str
    session_sha256: str

    def may(self, scope: Scope) -> bool:
        """Return whether the key suffices where `scope` is required."""
        if "metrics" in (scope, self.scope):
            return self.scope in (scope, "admin")
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


class KeyFileError(Exception):
    """The file cannot be used, or the change makes no sense; the message says what to do."""

    code = "invalid_keys"


class KeyFile:
    """The named keys of a library. Several processes may change it at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / KEYS_FILE

    def read(self) -> tuple[Key, ...]:
        """Return all keys, by name; none where there is no file. KeyFileError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, encoding="utf-8") as file:  # noqa: PTH123  # a descriptor
                entries = json.load(file)["keys"]
            keys = tuple(Key(**entry) for entry in entries)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise KeyFileError(f"{self.path}: {error.strerror}.") from error
        except (ValueError, TypeError, KeyError) as error:
            raise KeyFileError(
                f"{self.path} is damaged. Restore it, or delete it and make new keys with `visem key add`."
            ) from error
        if any(key.scope not in SCOPES for key in keys):
            raise KeyFileError(f"{self.path} has a scope that this version of Visem does not know.")
        return tuple(sorted(keys, key=lambda key: key.name))

    def add(self, name: str, scope: Scope) -> str:
        """Make a key and return its secret, which nobody can find out later. KeyFileError, OSError."""
        if not _NAME.fullmatch(name):
            raise KeyFileError("A name has 1 to 64 letters, digits, dots, hyphens and underscores.")
        secret = _PREFIX + secrets.token_urlsafe(32)
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(name, scope, created_at, _sha256(secret), _sha256(session_of(secret)))
        with self._changing() as keys:
            if name in keys:
                raise KeyFileError(f"There is a key {name} already. Remove it first, or choose another name.")
            keys[name] = key
        return secret

    def remove(self, name: str) -> None:
        """Remove a key: it stops working within a second. KeyFileError, OSError."""
        with self._changing() as keys:
            if name not in keys:
                raise KeyFileError(f"There is no key {name}. `visem key list` shows all.")
            del keys[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """Give all keys to change, and write them; nobody else changes them meanwhile."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            keys = {key.name: key for key in self.read()}
            yield keys
            unfinished = self.path.with_name(f"{KEYS_FILE}.{secrets.token_hex(8)}")
            try:
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor
                    json.dump({"keys": [asdict(key) for key in keys.values()]}, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(self.path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            os.fsync(folder)
        finally:
            os.close(folder)


class KeyRing:
    """The keys that open a service: that of VISEM_API_KEY, an admin's, and those of the file. Thread-safe.

    The file is read again when it has changed. Once there has been a key the service stays locked: taking the last
    one away lets nobody in.
    """

    def __init__(self, folder: Path, api_key: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """KeyFileError."""
        self._file = KeyFile(folder)
        self._chosen = None if api_key is None else _chosen(api_key)
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._problem = ""  # why the file could not be read; logged once
        self._seen = self._identity()
        self._keys = self._file.read()
        self._locked = bool(self._keys) or api_key is not None

    @property
    def locked(self) -> bool:
        """Whether a key is required."""
        self._follow()
        return self._locked

    def find(self, secret: str) -> Key | None:
        """Return the key with this secret. The time that it takes says nothing about any key."""
        digest = _sha256(secret)
        return self._only([key for key in self._all() if hmac.compare_digest(key.key_sha256, digest)])

    def find_random(self, secret: str) -> Key | None:
        """As `find`, but only keys that Visem made: nobody guesses them, so no guess needs to be counted."""
        key = self.find(secret) if secret.startswith(_PREFIX) else None
        return None if key is self._chosen else key

    def find_session(self, cookie: str) -> Key | None:
        """Return the key that this cookie was given for. As hard to guess as a random key."""
        digest = _sha256(cookie)
        return self._only([key for key in self._all() if hmac.compare_digest(key.session_sha256, digest)])

    def _all(self) -> tuple[Key, ...]:
        self._follow()
        return self._keys if self._chosen is None else (self._chosen, *self._keys)

    def _only(self, found: list[Key]) -> Key | None:
        return found[0] if found else None

    def _follow(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._looked < _CHECK_SECONDS:
                return
            self._looked = now
            identity = self._identity()
            if identity == self._seen:
                return
            try:
                self._keys = self._file.read()
            except KeyFileError as error:  # perhaps only for now: it is read again until that works
                if str(error) != self._problem:
                    logger.error("the keys stay as they were: %s", error)
                self._problem = str(error)
                return
            self._seen, self._problem = identity, ""
            self._locked = self._locked or bool(self._keys)

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = self._file.path.lstat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def session_of(secret: str) -> str:
    """What the cookie of a session holds: derived from the key, which nobody can get back out of it."""
    return hmac.new(secret.encode(), b"visem session 1", hashlib.sha256).hexdigest()


def _chosen(secret: str) -> Key:
    return Key("VISEM_API_KEY", "admin", "", _sha256(secret), _sha256(session_of(secret)))


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
