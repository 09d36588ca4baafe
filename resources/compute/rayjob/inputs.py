"""What a job on a cluster is given: its spec, and the files that the spec names."""

import json
from pathlib import Path

from engine.bucket import Bucket
from engine.protocol import JobSpec
from engine.remote import WORKDIR, relocated


def write_inputs(bucket: Bucket, spec: JobSpec) -> None:
    """Put the spec and what it names into the job's folder."""
    # The watcher takes a result that is there for the end of the job.
    bucket.delete(["result.json"])
    bucket.put("lease", b"asked for")
    document = spec.model_dump(mode="json")
    for field, value in document.items():
        if field != "workdir" and isinstance(value, str) and _is_input(value, spec.workdir):
            path = Path(value)
            target = f"inputs/{field}"
            if path.is_dir():
                bucket.upload_folder(path, target)
            else:
                bucket.upload(path, target)
            document[field] = f"{WORKDIR}{target}"
    document = relocated(document, f"{spec.workdir}/", WORKDIR)
    bucket.put("spec.json", json.dumps(document).encode())


def _is_input(value: str, workdir: Path) -> bool:
    """Whether the text names a file of this machine that the engine needs a copy of."""
    path = Path(value)
    return path.is_absolute() and not path.is_relative_to(workdir) and path.exists()
