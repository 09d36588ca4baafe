"""The memory that a replica of a Bento takes, measured once for each Bento on this machine."""

import logging
import subprocess
import sys
from pathlib import Path

from engine.parent_death import die_with_parent
from engine.protocol import write_atomically

WITHIN_S = 120.0
log = logging.getLogger(__name__)


def measured_mib(bento: Path) -> int | None:
    """Peak resident size in MiB of a process that loads the Bento and answers its largest batch;
    None, with a warning in the log, where it cannot be measured: a replica may still serve.

    A measurement is kept beside the Bento.
    """
    kept = bento.with_name(f"{bento.name}.footprint")
    if kept.is_file():
        return int(kept.read_text())
    # Without bytecode: a Bento is packed as it was built.
    argv = [sys.executable, "-B", "footprint.py"]
    try:
        ended = subprocess.run(
            argv,
            cwd=bento / "src",
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=True,
            preexec_fn=die_with_parent,
        )
    except subprocess.CalledProcessError as error:
        log.warning("the memory of a replica could not be measured: %s", error.stderr.strip())
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("the memory of a replica could not be measured: %s", error)
        return None
    write_atomically(kept, ended.stdout.strip())
    return int(ended.stdout)
