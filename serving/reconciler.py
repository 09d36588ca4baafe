"""The reconciler: makes the running services what their releases say, and keeps them so.

`python -m serving.reconciler FOLDER HOST PORT` reads `FOLDER/SERVICE/release.json`, keeps the
processes and the router, and writes `FOLDER/SERVICE/status.json`. It never waits for one
service while another needs it. All its children end with it, also when it is killed.
"""

import logging
import signal
import sys
import time
from pathlib import Path

from pydantic import ValidationError

from engine import lease
from engine.protocol import write_atomically
from serving.contract import Release, ServiceStatus
from serving.fleet import Fleet
from serving.haproxy import Haproxy, RouterFailed

TICK_S = 0.1
log = logging.getLogger("serving.reconciler")


class Reconciler:
    """Pursues every release in a folder."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self._folder = folder
        self._router = Haproxy(folder / ".router", host, port)
        self._fleets: dict[str, Fleet] = {}
        self._written: dict[str, ServiceStatus] = {}
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
                self._tick(self._releases())
                time.sleep(TICK_S)
            self._wind_down()
        finally:
            self._router.stop()
            assert lock  # held until here

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _tick(self, releases: dict[str, Release]) -> None:
        if not self._router.is_alive():
            log.error("the router died; starting it again")
            self._router.restart()
        for service in releases.keys() - self._fleets.keys():
            self._fleets[service] = Fleet(service, self._router, self._folder / service / "logs")
        for service, fleet in list(self._fleets.items()):
            try:
                fleet.pursue(releases.get(service))
            except (OSError, RouterFailed):
                log.exception("service %s: will try again", service)
            self._publish(fleet)
            if service not in releases and fleet.is_empty:
                del self._fleets[service]
                (self._folder / service / "status.json").unlink(missing_ok=True)

    def _wind_down(self) -> None:
        end = time.monotonic() + 60
        while self._fleets and time.monotonic() < end:
            for service, fleet in list(self._fleets.items()):
                try:
                    fleet.pursue(None)
                except (OSError, RouterFailed):
                    log.exception("service %s: will try again", service)
                if fleet.is_empty:
                    del self._fleets[service]
                    (self._folder / service / "status.json").unlink(missing_ok=True)
            time.sleep(0.02)

    def _releases(self) -> dict[str, Release]:
        found: dict[str, Release] = {}
        for path in self._folder.glob("*/release.json"):
            try:
                release = Release.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):
                log.exception("%s cannot be read; the service stays as it is", path)
                continue
            found[release.service] = release
        return found

    def _publish(self, fleet: Fleet) -> None:
        status = fleet.status()
        if status is None or self._written.get(fleet.service) == status:
            return
        path = self._folder / fleet.service / "status.json"
        if path.parent.exists():
            write_atomically(path, status.model_dump_json(indent=2))
            self._written[fleet.service] = status
            log.info("%s: %s %s %s", status.service, status.state, status.target, status.message)


def main(argv: list[str]) -> int:
    """Exit code of the reconciler process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = Path(argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        Reconciler(folder, argv[2], int(argv[3])).run()
    except (RouterFailed, lease.AlreadyRunning) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
