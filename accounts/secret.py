"""The instance's secret: what it signs, and what digests of tokens are keyed with."""

import base64
import hashlib
import hmac
import secrets


class InstanceSecret:
    """A secret of 32 bytes, never shown and never stored in the database."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def digest(self, token: str) -> str:
        """Keyed SHA-256 of a random token, in hexadecimal; only this is stored.

        Tokens have 256 bits, so a slow hash would protect nothing and cost every request.
        """
        return hmac.digest(self._value, token.encode(), hashlib.sha256).hex()

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose (HMAC as a key derivation, NIST SP 800-108)."""
        return hmac.digest(self._value, f"orrery/{purpose}".encode(), hashlib.sha256)

    def callback_secret(self, organization: str, generation: int) -> str:
        """What the organization's callbacks are signed with, as Standard Webhooks writes it."""
        key = self.derived(f"callbacks/{organization}/{generation}")
        return f"whsec_{base64.b64encode(key).decode()}"


def new_token(prefix: str) -> str:
    """A random token of 256 bits."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"
