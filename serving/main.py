"""One packaging job as a process: `python -m serving.main SPEC`.

Reads a PackagingSpec, builds the Bento, and writes a PackagingResult.
"""

import sys

from engine import lease
from engine.protocol import end_process, run_engine
from serving.contract import PackagingResult, PackagingSpec
from serving.packaging import package


def work(spec: PackagingSpec) -> PackagingResult:
    """The Bento of the spec's artefact."""
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    return package(spec)


if __name__ == "__main__":
    end_process(run_engine(PackagingSpec, work, sys.argv))
