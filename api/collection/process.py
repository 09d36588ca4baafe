"""The process of one collection: `python -m api.collection.process ID`.

It plans, or removes, as far as the record has come. An error that passes by itself is told in the
record and leaves it to be claimed again.
"""

import logging
import os
import sys

from api.cli.installation import opened
from api.collection.work import CollectionWork
from api.context import Platform
from engine import lease
from resources.collection.records import records
from resources.settings import Settings

TRY_AGAIN, REFUSED = 75, 2
log = logging.getLogger(__name__)


def main(id: str) -> int:
    """Exit code of the work: 0, or 75 where it is left to be claimed again."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    os.umask(0o077)
    with opened(Settings()) as platform:
        with platform.control.read() as connection:
            record = records.find(connection, id)
        if record is None:
            log.error("there is no collection %s", id)
            return REFUSED
        work = CollectionWork(platform, record)
        try:
            work.plan() if record.state == "planning" else work.remove()
        except lease.AlreadyRunning as error:
            log.info("%s waits: %s", id, error)
            return TRY_AGAIN
        except Exception as error:
            log.exception("%s", id)
            _leave(platform, work, error)
            return TRY_AGAIN
    return 0


def _leave(platform: Platform, work: CollectionWork, error: Exception) -> None:
    with platform.control.write() as connection:
        records.tell(connection, work.id, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
