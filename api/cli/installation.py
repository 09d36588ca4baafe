"""What a person may make who has access to the machine or pod of an installation."""

from collections.abc import Iterator
from contextlib import contextmanager

from accounts import first_start
from api.context import Platform
from api.settings import GatewaySettings
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import Settings


def link_of(settings: Settings, *, again: bool) -> str:
    """A link that signs the owner in, once; without `again` empty where anybody has signed in."""
    with opened(settings) as platform:
        owner = platform.owner()
        if not again and first_start.was_entered(platform.control):
            return ""
        return first_start.sign_in_link(platform.control, platform.secret, owner, settings.url)


def admin_key_of(settings: Settings) -> str:
    """Another admin key of the owner."""
    with opened(settings) as platform:
        return first_start.admin_key(platform.control, platform.secret, platform.owner())


@contextmanager
def opened(settings: Settings) -> Iterator[Platform]:
    """The platform of the settings, with its control database."""
    platform = Platform(settings, GatewaySettings(), ClusterSettings())
    try:
        yield platform
    finally:
        platform.control.close()
