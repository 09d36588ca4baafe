"""One attempt of a job on another machine.

Attempts of a job meet in its folder of the bucket, where the newest writes its name. An older one
that still runs, because its machine was given up but has not ended, reads that it is not wanted.
"""

import json
import os
import uuid
from dataclasses import dataclass, replace
from typing import Self

from engine.bucket import Bucket

KEY = "attempt"
RAY_CLUSTER = "ORRERY_RAY_CLUSTER"
PID_FILE = "ORRERY_PID_FILE"


class Resubmitted(Exception):
    """Ray was started anew beneath the job, and had forgotten that it ran already."""


class Superseded(Exception):
    """Another attempt of the job has begun."""


@dataclass(frozen=True)
class Attempt:
    """What tells one attempt from another."""

    ray_cluster: str
    """Name of the Ray cluster beneath it; empty outside of one."""
    name: str
    number: int = 1
    """How many have begun, with this one."""

    @property
    def writer(self) -> str:
        """Names what it writes; those of later attempts come later in alphabetical order."""
        return f"{self.number:04d}-{self.name}"

    @classmethod
    def of_environment(cls) -> Self:
        """A new attempt, of this process. KubeRay submits again under the same id."""
        return cls(os.environ.get(RAY_CLUSTER, ""), uuid.uuid4().hex)

    def begin(self, bucket: Bucket) -> Self:
        """The attempt with its number, now the job's newest.

        Raises Resubmitted where one of the same Ray cluster has begun before: that is a job whose
        head died, of which KubeRay counts no attempt, and which would go on so for ever.
        """
        before = _newest(bucket)
        if before and "" != before.ray_cluster == self.ray_cluster:
            raise Resubmitted(f"the head of {self.ray_cluster} was lost while the job ran")
        begun = replace(self, number=before.number + 1 if before else 1)
        bucket.put(KEY, json.dumps([begun.ray_cluster, begun.name, begun.number]).encode())
        return begun

    def require_newest(self, bucket: Bucket) -> None:
        """Return while no other attempt has begun. Raises Superseded, or OSError."""
        newest = _newest(bucket)
        if newest not in (None, self):
            raise Superseded(f"gives way to the attempt on {newest.ray_cluster}")


def _newest(bucket: Bucket) -> Attempt | None:
    try:
        return Attempt(*json.loads(bucket.get(KEY)))
    except FileNotFoundError:
        return None
