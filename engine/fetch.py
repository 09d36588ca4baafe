"""Fetch a sealed folder from a bucket: `python -m engine.fetch s3://BUCKET/KEY DIGEST FOLDER`.

The init container of a service runs it. A folder that is not the one of the digest is not left.
timeout, retry: the bucket's. cancel: the folder is not there yet. duplicate: a whole folder is
kept. partial write: the folder is renamed into place once every byte was checked.
"""

import shutil
import sys
from pathlib import Path

from engine.artefact import ArtefactCorrupt, is_sealed, verify
from engine.bucket import Bucket


def fetch(uri: str, digest: str, folder: Path) -> None:
    """Bring the folder here. Raises OSError, or ArtefactCorrupt when its bytes are others."""
    if is_sealed(folder, digest):
        return
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    place, _, key = uri.rstrip("/").rpartition("/")
    Bucket(place).download_folder(key, draft)
    verify(draft, digest)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def main(argv: list[str]) -> int:
    """Exit code: 0, or 1 with the reason on standard error."""
    try:
        fetch(argv[1], argv[2], Path(argv[3]))
    except (OSError, ArtefactCorrupt) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
