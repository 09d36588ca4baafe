"""Fetch a packed folder from a bucket: `python -m engine.fetch s3://BUCKET/KEY DIGEST FOLDER`.

The init container of a service runs it. A folder that is not the one of the digest is not left.
timeout, retry: the bucket's. cancel: the folder is not there yet. duplicate: a folder that is
there is kept. partial write: the folder is renamed into place once every byte was checked.
"""

import shutil
import sys
import tarfile
from pathlib import Path

from engine.artefact import ArtefactCorrupt, sha256_of
from engine.bucket import Bucket


def pack(folder: Path, archive: Path) -> str:
    """SHA-256 of the folder's archive, which is now written; equal folders give equal bytes."""
    # Compiled modules hold the time of their sources, so equal folders would give other bytes.
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    with tarfile.open(archive, "w") as packed:
        for path in sorted(files):
            # TarInfo's defaults have no owner and no time, in which equal folders may differ.
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                packed.addfile(entry, content)
    return sha256_of(archive)


def fetch(uri: str, digest: str, folder: Path) -> None:
    """Bring the folder here. Raises OSError, or ArtefactCorrupt when its bytes are others."""
    if folder.is_dir():
        return
    archive, draft = (folder.with_name(f".{folder.name}.{end}") for end in ("tar", "draft"))
    place, _, key = uri.rpartition("/")
    Bucket(place).download(key, archive)
    if (actual := sha256_of(archive)) != digest:
        archive.unlink()
        raise ArtefactCorrupt(f"{uri} has hash {actual}, expected {digest}; deploy it again")
    shutil.rmtree(draft, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(draft, filter="data")
    archive.unlink()
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
