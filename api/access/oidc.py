"""The adapter to an OpenID Connect provider: authorization code with PKCE (RFC 7636, OIDC Core).

timeout: `TIMEOUT_S` a call.
retry: none; the person tries again.
cancel: an attempt that is not finished is void after ten minutes.
duplicate: a code and a state work once.
partial write: nobody is known before the token has been verified.
"""

import asyncio
import secrets
import time
from typing import Any, NamedTuple

import httpx

# Authlib's client is built on httpx2 and raises its errors.
import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from api.settings import GatewaySettings

TIMEOUT_S = 15.0
LEEWAY_S = 60
"""Clocks of two machines differ."""
DISCOVERED_S = 600.0
SCOPE = "openid email profile"
NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
"""What a discovery document must say."""
# Asymmetric ones only: with HS256 a public key could be used as the shared secret.
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]


class OidcFailed(Exception):
    """The provider does not answer, or its answer cannot be trusted."""


class Attempt(NamedTuple):
    """A sign-in that was begun."""

    url: str
    state: str
    nonce: str
    verifier: str


class Person(NamedTuple):
    """Who the provider says it is."""

    subject: str
    """Issuer and name there."""
    name: str
    email: str | None
    email_is_verified: bool


class Oidc:
    """One provider."""

    def __init__(self, gateway: GatewaySettings, callback: str) -> None:
        self._issuer = gateway.oidc_issuer.rstrip("/")
        self._id, self._secret = (
            gateway.oidc_client_id,
            gateway.oidc_client_secret.get_secret_value(),
        )
        self._callback = callback
        self._known: dict[str, Any] = {}
        self._known_at = 0.0
        self._lock = asyncio.Lock()

    async def begin(self) -> Attempt:
        """Where to send the browser. Raises OidcFailed."""
        provider = await self._discovered()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        client = self._client()
        url, state = client.create_authorization_url(
            provider["authorization_endpoint"], nonce=nonce, code_verifier=verifier
        )
        await client.aclose()
        return Attempt(url, state, nonce, verifier)

    async def finish(self, code: str, verifier: str, nonce: str) -> Person:
        """Who came back with the code. Raises OidcFailed."""
        provider = await self._discovered()
        client = self._client()
        try:
            token = await client.fetch_token(
                provider["token_endpoint"], code=code, code_verifier=verifier
            )
            # The keys are public, so the person's token is not sent to their address.
            keys = (await client.request("GET", provider["jwks_uri"], withhold_token=True)).json()
            claims = self._verified(token.get("id_token", ""), keys, provider["issuer"], nonce)
            if "email" not in claims and "userinfo_endpoint" in provider:
                # Claims of the signed token take precedence over those of the userinfo endpoint.
                claims = {**await _userinfo(client, provider, claims["sub"]), **claims}
        except (OAuthError, httpx2.HTTPError, ValueError) as error:
            raise OidcFailed(f"the provider refuses the code: {error}") from error
        finally:
            await client.aclose()
        email = claims.get("email")
        return Person(
            subject=f"{claims['iss']}|{claims['sub']}",
            name=str(claims.get("name") or email or claims["sub"])[:200],
            email=str(email) if email else None,
            email_is_verified=claims.get("email_verified") is True,
        )

    def _verified(self, token: str, keys: Any, issuer: str, nonce: str) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": self._id},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=ALGORITHMS)
            registry.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OidcFailed(f"the provider's token cannot be trusted: {error}") from error
        # OpenID Connect Core 3.1.3.7: a token for several audiences names its client in `azp`.
        audiences = decoded.claims["aud"]
        is_shared = isinstance(audiences, list) and len(audiences) > 1
        if is_shared and decoded.claims.get("azp") != self._id:
            raise OidcFailed("the provider's token was made for another client")
        return decoded.claims

    async def _discovered(self) -> dict[str, Any]:
        async with self._lock:
            if time.monotonic() - self._known_at < DISCOVERED_S and self._known:
                return self._known
            url = f"{self._issuer}/.well-known/openid-configuration"
            try:
                async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                    provider = dict((await client.get(url)).raise_for_status().json())
            except (httpx.HTTPError, ValueError, TypeError) as error:
                raise OidcFailed(f"the identity provider does not answer: {error}") from error
            missing = [name for name in NEEDED if not isinstance(provider.get(name), str)]
            if missing:
                raise OidcFailed(f"{url} does not say: {', '.join(missing)}")
            # OpenID Connect Discovery 4.3: the document must name the issuer that was asked.
            if provider["issuer"].rstrip("/") != self._issuer:
                raise OidcFailed(f"{url} is of another issuer: {provider['issuer']!r}")
            self._known, self._known_at = provider, time.monotonic()
            return provider

    def _client(self) -> Any:
        return AsyncOAuth2Client(
            self._id,
            self._secret,
            scope=SCOPE,
            redirect_uri=self._callback,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )


async def _userinfo(client: Any, provider: dict[str, Any], subject: str) -> dict[str, Any]:
    """What the provider says of the subject beside the token (OIDC Core 5.3)."""
    claims = (await client.get(provider["userinfo_endpoint"])).json()
    is_same = isinstance(claims, dict) and claims.get("sub") == subject
    return claims if is_same else {}
