"""Tokens for the tests."""

from __future__ import annotations

import time

from joserfc import jwt
from joserfc.jwk import Key, OctKey

SECRET = "a secret of more than thirty-two characters"


def mint(
    role: str | None = "authenticated", *, secret: str = SECRET, lives_s: float | None = 3600, **claims: object
) -> str:
    """A token of the shared secret; None leaves a claim out."""
    exp = None if lives_s is None else int(time.time() + lives_s)
    full = {"role": role, "exp": exp, **claims}
    given = {name: value for name, value in full.items() if value is not None}
    return jwt.encode({"alg": "HS256"}, given, OctKey.import_key(secret))


def mint_by(key: Key, algorithm: str, **claims: object) -> str:
    """A token signed by a key of a key set."""
    full = {"role": "authenticated", "exp": int(time.time()) + 3600, **claims}
    return jwt.encode({"alg": algorithm, "kid": key.kid}, full, key, algorithms=[algorithm])
