"""What changes about a service while it is deployed."""

from collections.abc import Callable

from resources.services.local import Superseded
from serving.contract import ServiceStatus


class Changes:
    """Reports each change of a service's status once."""

    def __init__(
        self,
        status_of: Callable[[str], ServiceStatus | None],
        service: str,
        on_change: Callable[[ServiceStatus], None],
    ) -> None:
        self._status_of, self._service, self._on_change = status_of, service, on_change
        self._reported: tuple | None = None

    def __call__(self, message: str = "") -> ServiceStatus:
        """The present status, with the message. Raises Superseded when the service is gone."""
        status = self._status_of(self._service)
        if status is None:
            raise Superseded(f"{self._service} is gone: it was undeployed")
        if message:
            status = status.model_copy(update={"message": message})
        mark = (status.state, status.weight, status.message)
        if mark != self._reported:
            self._reported = mark
            self._on_change(status)
        return status
