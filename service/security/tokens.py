"""Reads tokens of an OpenID provider (JWT) and gives who they are for, with PyJWT; loaded only where they are set up.

A token is verified once and then known by its SHA-256 for some minutes, so that it costs what a key costs.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
from jwt import PyJWK, PyJWKClient, PyJWKSet

from service.security.caller import SCOPES, Caller
from service.security.failures import IssuerAway, KeysError, Unauthorized
from service.security.keys import rate_of
from service.security.rates import Rate
from service.settings import Settings

_log = logging.getLogger("nextply")
# Asymmetric ones alone: with any other, the issuer's public key would be enough to make tokens.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# Seconds by which clocks may differ.
_LEEWAY = 10
# Seconds for which a token is not verified again, and tokens that are remembered.
_KNOWN, _MOST_KNOWN = 300, 4096
# Seconds after which the issuer's keys are fetched again, and between two fetches for keys that nobody knows.
_FRESH, _PAUSE, _FETCH = 300, 10, 5
# What comes of a set of keys that cannot be fetched or is none.
_NO_KEYS = (OSError, ValueError, TypeError, AttributeError, jwt.PyJWTError)
_LONGEST_TENANT = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class Tokens:
    """Who tokens of one issuer, made for this service, are for."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; KeysError if the issuer's keys are in a file that cannot be used."""
        self._settings = settings
        self._keys = _IssuerKeys(settings.jwt_keys)
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._rates: OrderedDict[str, Rate | None] = OrderedDict()

    async def find(self, token: bytes, digest: bytes) -> Caller:
        """Give who the token with this SHA-256 is for; Unauthorized says what is wrong with it."""
        until, who = self._known.get(digest, (0.0, None))
        if who is None or time.monotonic() >= until:
            who = await self._verify(token.decode("ascii", "replace"))
            self._known[digest] = time.monotonic() + _KNOWN, who
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return who

    async def _verify(self, token: str) -> Caller:
        try:
            key = await self._keys.find(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(f"the token is not good: {error}") from None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        """Read the claims; several tokens of a tenant share its rate."""
        name = claims.get(self._settings.jwt_tenant)
        tenant = _UNSAFE.sub(_escaped, name) if isinstance(name, str) else ""
        if not 0 < len(tenant) <= _LONGEST_TENANT:
            has = f"a text of 1 to {_LONGEST_TENANT} signs"
            raise Unauthorized(f"the token's claim {self._settings.jwt_tenant!r}, which names its tenant, is not {has}")
        given = claims.get(self._settings.jwt_scope, ())
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
        if tenant not in self._rates:
            self._rates[tenant] = rate_of(self._settings.rate_limit)
        self._rates.move_to_end(tenant)
        while len(self._rates) > _MOST_KNOWN:
            self._rates.popitem(last=False)
        scopes = frozenset(scope for scope in SCOPES if scope in words)
        return Caller(tenant, scopes, self._rates[tenant], self._settings.session_quota, claims["exp"] + _LEEWAY)


class _IssuerKeys:
    """The public keys of the issuer, fetched when they are needed and not too often."""

    def __init__(self, source: str) -> None:
        """Take the address or the path of a JWKS; one that is a file is read at once."""
        self._fetch: Callable[[], PyJWKSet]
        self._set: PyJWKSet | None = None
        self._fetched, self._tried = 0.0, float("-inf")
        self._one = asyncio.Lock()
        if "://" in source:
            self._fetch = PyJWKClient(source, cache_jwk_set=False, cache_keys=False, timeout=_FETCH).get_jwk_set
            return
        self._fetch = lambda: PyJWKSet.from_json(Path(source).read_text(encoding="utf-8"))
        try:
            self._set, self._fetched = self._fetch(), time.monotonic()
        except _NO_KEYS as error:
            raise KeysError(f"{source} holds no keys of an issuer (JWKS): {error}") from None

    async def find(self, header: Mapping[str, Any]) -> PyJWK:
        """Give the key that a token names in its header; IssuerAway if no keys can be fetched."""
        if header.get("alg") not in _ALGORITHMS:
            raise jwt.InvalidAlgorithmError("its algorithm is not taken here")
        if self._set is None or time.monotonic() >= self._fetched + _FRESH:
            await self._refresh()
        key = self._of(header.get("kid"))
        if key is None:
            await self._refresh()
            key = self._of(header.get("kid"))
        if key is None:
            raise jwt.InvalidKeyError("its key is none of the issuer's")
        return key

    def _of(self, kid: Any) -> PyJWK | None:
        """Give the key of a name, or the only one there is for a token that names none."""
        signing = [key for key in (self._set.keys if self._set else ()) if key.public_key_use in ("sig", None)]
        if kid is None:
            return signing[0] if len(signing) == 1 else None
        return next((key for key in signing if key.key_id == kid), None)

    async def _refresh(self) -> None:
        """Fetch the keys, unless that was tried just now: whoever makes up names of keys must not keep us fetching."""
        async with self._one:
            if time.monotonic() >= self._tried + _PAUSE:
                self._tried = time.monotonic()
                try:
                    self._set = await asyncio.to_thread(self._fetch)
                    self._fetched = self._tried
                except _NO_KEYS as error:
                    _log.error("the keys of the issuer cannot be fetched: %s", error)
            if self._set is None:
                raise IssuerAway("the keys of the issuer cannot be fetched; try again")


def _escaped(found: re.Match[str]) -> str:
    """Write what no tenant's name holds as ``~`` and two digits for each byte, as no key's tenant has it."""
    return "".join(f"~{byte:02X}" for byte in found[0].encode(errors="replace"))
