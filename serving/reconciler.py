"""The reconciler: makes the running services what their deployments say, and keeps them so.

`python -m serving.reconciler FOLDER HOST PORT GRPC_PORT` reads `FOLDER/SERVICE/deployment.json` and
the `stop.json` beside it, keeps the processes and the router, and writes
`FOLDER/SERVICE/status.json`.
It never waits for one service while another needs it. All its children end with it, also when it
is killed; `FOLDER/SERVICE/rollout.json` tells the next reconciler how far each rollout was.
"""

import logging
import signal
import sys
import time
from pathlib import Path

from engine import lease
from engine.protocol import write_atomically
from serving.contract import WIND_DOWN_S, ServiceStatus
from serving.fleet import RECORD, Fleet
from serving.haproxy import Haproxy, RouterFailed
from serving.orders import NOTHING, Order, Orders
from serving.processes import Processes

TICK_S = 0.1
COUNTS_EVERY_S = 1.0
"""How often the status tells of requests alone."""
log = logging.getLogger("serving.reconciler")


class Reconciler:
    """Pursues every deployment in a folder."""

    def __init__(self, folder: Path, host: str, port: int, grpc_port: int) -> None:
        self._folder, self._orders = folder, Orders(folder)
        self._router = Haproxy(folder / ".router", host, port, grpc_port)
        self._processes = Processes(folder / "warm-server.log")
        self._fleets: dict[str, Fleet] = {}
        self._written: dict[str, tuple[ServiceStatus, float]] = {}
        self._stopping = False

    def run(self) -> None:
        """Reconcile until SIGTERM or SIGINT, then stop every process.

        Raises RouterFailed when the router cannot start, AlreadyRunning when another reconciler
        works in the folder.
        """
        lock = lease.hold(self._folder)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._router.start()
        log.info("routing on %s", self._router.url)
        try:
            while not self._stopping:
                self._tick(self._orders.read())
                time.sleep(TICK_S)
            self._wind_down()
        finally:
            self._router.stop()
            self._processes.stop()
            assert lock  # held until here

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _tick(self, orders: dict[str, Order]) -> None:
        self._processes.look()
        if not self._router.is_alive():
            log.error("the router died; starting it again")
            try:
                self._router.start()
            except RouterFailed:
                log.exception("the router does not start; will try again")
                return
        for service in orders.keys() - self._fleets.keys():
            self._fleets[service] = self._fleet(service)
        for service, fleet in list(self._fleets.items()):
            order = orders.get(service, NOTHING)
            try:
                fleet.pursue(
                    fleet.deployment if order.is_unreadable else order.deployment, order.stop
                )
            except (OSError, RouterFailed):
                log.exception("service %s: will try again", service)
            try:
                self._publish(fleet)
            except OSError:
                # For example on a full disk: the service goes on answering without a new status.
                log.exception("service %s: its status is not written; will try again", service)
            if service not in orders and fleet.is_empty:
                del self._fleets[service]

    def _fleet(self, service: str) -> Fleet:
        folder = self._folder / service
        try:
            return Fleet(service, self._router, self._processes, folder)
        except (OSError, ValueError):
            log.exception("service %s: its record cannot be read; it is deployed anew", service)
            (folder / RECORD).unlink(missing_ok=True)
            return Fleet(service, self._router, self._processes, folder)

    def _wind_down(self) -> None:
        # Longer than a replica takes to drain (traffic.DRAIN_WITHIN_S) and to stop
        # (replica.STOP_WITHIN_S).
        end = time.monotonic() + WIND_DOWN_S
        while self._fleets and time.monotonic() < end:
            for service, fleet in list(self._fleets.items()):
                try:
                    fleet.wind_down()
                except (OSError, RouterFailed):
                    log.exception("service %s: will try again", service)
                if fleet.is_empty:
                    del self._fleets[service]
                    (self._folder / service / "status.json").unlink(missing_ok=True)
            time.sleep(0.02)

    def _publish(self, fleet: Fleet) -> None:
        status, path = fleet.status(), self._folder / fleet.service / "status.json"
        before, at = self._written.get(fleet.service, (None, 0.0))
        if status is None:
            self._written.pop(fleet.service, None)
            path.unlink(missing_ok=True)
            return
        is_new = before is None or _uncounted(status) != _uncounted(before)
        if status == before or not (is_new or time.monotonic() - at > COUNTS_EVERY_S):
            return
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, status.model_dump_json(indent=2))
        self._written[fleet.service] = (status, time.monotonic())
        if is_new:
            log.info("%s: %s %s %s", status.service, status.state, status.target, status.message)


def _uncounted(status: ServiceStatus) -> ServiceStatus:
    """The status without what every request changes."""
    bare = [a.model_copy(update={"requests": 0, "errors": 0}) for a in status.answering]
    return status.model_copy(update={"answering": bare})


def main(argv: list[str]) -> int:
    """Exit code of the reconciler process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = Path(argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        Reconciler(folder, argv[2], int(argv[3]), int(argv[4])).run()
    except (RouterFailed, lease.AlreadyRunning) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
