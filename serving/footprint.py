"""The memory that a replica of a Bento takes, measured once for each Bento on this machine."""

import logging
import resource
import subprocess
import sys
from pathlib import Path

from engine.parent_death import die_with_parent
from engine.protocol import write_atomically

WITHIN_S = 120.0
CGROUP, LIMIT = Path("/sys/fs/cgroup"), ("memory.max", "memory.current")
SPARE = 64 << 20
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
            preexec_fn=_keep_within,
        )
        mib = int(ended.stdout.split()[-1])
    except subprocess.CalledProcessError as error:
        log.warning("the memory of a replica could not be measured: %s", error.stderr.strip())
        return None
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        log.warning("the memory of a replica could not be measured: %s", error)
        return None
    write_atomically(kept, str(mib))
    return mib


def _keep_within() -> None:
    """End with the parent, and fail alone where memory runs out: Kubernetes ends all processes of a
    container that takes too much."""
    die_with_parent()
    try:
        most, taken = ((CGROUP / name).read_text().strip() for name in LIMIT)
    except OSError:
        return
    if most.isdigit():
        left = max(0, int(most) - int(taken) - SPARE)
        resource.setrlimit(resource.RLIMIT_DATA, (left, left))
