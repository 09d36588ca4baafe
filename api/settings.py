"""Settings of the gateway, from `ORRERY_*` variables: who may come in, and what it may reach."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from accounts.roles import Role
from resources.settings import CHECKOUT


class GatewaySettings(BaseSettings):
    """What the API allows; the defaults deny whatever they can."""

    model_config = SettingsConfigDict(env_prefix="ORRERY_", frozen=True, extra="ignore")

    trainers: str = "training"
    """Packages, separated by commas, whose functions may be asked for by a request."""
    data_roots: str = str(CHECKOUT / "data")
    """Folders and s3:// prefixes, separated by commas, that requests may name as a source."""
    images: str = ""
    """Images, or registries and folders of them, separated by commas, that requests may name."""
    request_bytes: int = Field(default=1_000_000, ge=1_000)
    """Largest body of a request."""
    requests_per_minute: int = Field(default=6_000, ge=1)
    """Requests that one caller may make in a minute, predictions apart."""
    predictions_per_minute: int = Field(default=600_000, ge=1)
    """Predictions that one caller may ask for in a minute."""
    rate_limit_storage: SecretStr = SecretStr("")
    """`redis://` URL of the counters that several gateways share; empty counts in each."""
    callback_private: str = ""
    """Private addresses that callbacks may reach: networks such as 10.1.0.0/16, by commas."""
    price_gpu_h: float = Field(default=0.0, ge=0)
    """Money that a GPU costs for an hour."""
    price_process_h: float = Field(default=0.0, ge=0)
    """Money that a process costs for an hour."""
    secure_cookies: bool | None = None
    """Whether cookies are sent over TLS alone; by default where the public address is https."""

    oidc_issuer: str = ""
    """Address of an OpenID Connect provider; its discovery document is read from there."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_role: Role = "viewer"
    """Role of somebody who signs in for the first time and was not invited."""
    saml_idp_metadata: Path | None = None
    """File with the metadata of a SAML 2.0 identity provider."""
    saml_role: Role = "viewer"
    """Role of somebody who signs in for the first time and was not invited."""

    ask_url: str = ""
    """OpenAI-compatible endpoint, such as https://host/v1, that turns sentences into tool calls."""
    ask_model: str = ""
    ask_key: SecretStr = SecretStr("")
    ask_timeout_s: float = Field(default=60.0, gt=0)

    @property
    def trainer_packages(self) -> list[str]:
        """Packages whose functions may be asked for."""
        return _words(self.trainers)

    @property
    def allowed_roots(self) -> list[str]:
        """Folders and prefixes that requests may read."""
        return _words(self.data_roots)

    @property
    def allowed_images(self) -> list[str]:
        """Beginnings of images that requests may name."""
        return _words(self.images)

    @property
    def private_networks(self) -> list[str]:
        """Networks that callbacks may reach although they are private."""
        return _words(self.callback_private)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
