"""Passwords as argon2id (RFC 9106), in a few threads of their own: a burst of logins must not starve the rest.

Hashes of bcrypt, from an older system, are verified too; the next login puts an argon2id in their place.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_TIME_COST = 2
_MEMORY_KIB = 19_456
_PARALLELISM = 1
_BCRYPT = ("$2a$", "$2b$", "$2y$")
_BCRYPT_MAX_BYTES = 72
"""What bcrypt looks at; the libraries that made such hashes cut the rest off."""


class Argon2Passwords:
    """The port Passwords. One check takes about 19 MiB for its while, so `workers` bounds the memory too."""

    def __init__(self, workers: int) -> None:
        self._hasher = PasswordHasher(time_cost=_TIME_COST, memory_cost=_MEMORY_KIB, parallelism=_PARALLELISM)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._nobodys = self._hasher.hash("a password that nobody has")

    async def hash(self, password: str) -> str:
        """Give the encoded hash with its parameters and salt."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one behind the hash; without one the same work is done for a no."""
        loop = asyncio.get_running_loop()
        same = await loop.run_in_executor(self._threads, self._verify, kept or self._nobodys, password)
        # An erasure leaves an empty hash: then it was nobody's that was checked.
        return same and bool(kept)

    def is_outdated(self, kept: str) -> bool:
        """Whether a hash was made with other costs than today's."""
        try:
            return self._hasher.check_needs_rehash(kept)
        except InvalidHashError:
            return True

    def _verify(self, kept: str, password: str) -> bool:
        try:
            if kept.startswith(_BCRYPT):
                return bcrypt.checkpw(password.encode()[:_BCRYPT_MAX_BYTES], kept.encode())
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError, ValueError):
            return False

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
