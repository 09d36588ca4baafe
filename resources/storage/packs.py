"""Small files by the hash of their content, many in one object.

timeout, retry: the object store's.
cancel: a pack that was not written whole is not there.
duplicate: what is in a pack already is not written again; two writers at once may both write it.
partial write: a pack is one object, stored whole or not at all.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from engine.rows import dataset_of, read_rows
from resources.storage.object_store import ObjectMissing, ObjectStore

PREFIX = "blobs/packs"
NAME, CONTENT = "object", "content"
ROWS_OF_GROUP = 256
"""Files that are read together to get one of them."""


class Packs:
    """Parquet files with a name and the bytes of a file in every row."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def names(self) -> set[str]:
        """Names of all files that are kept. Raises OSError."""
        files = self._files()
        return set(read_rows(files, [NAME]).column(NAME).to_pylist()) if files else set()

    def add(self, files: Mapping[str, bytes]) -> None:
        """Keep the files by their names, which their content decides. Raises OSError."""
        import pyarrow.parquet as pq

        if not files:
            return
        names = sorted(files)
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        contents = pa.array([files[name] for name in names], pa.large_binary())
        with tempfile.TemporaryDirectory(prefix="orrery-pack-") as folder:
            pack = Path(folder, "pack.parquet")
            pq.write_table(
                pa.table({NAME: pa.array(names, pa.string()), CONTENT: contents}),
                pack,
                row_group_size=ROWS_OF_GROUP,
                use_dictionary=False,
                write_statistics=[NAME],  # type: ignore[arg-type]
                compression="none",
            )
            self._objects.put_file(pack, f"{PREFIX}/{digest}.parquet", is_spare=True)

    def read(self, name: str) -> bytes:
        """Content of the file. Raises ObjectMissing."""
        import pyarrow.dataset as ds

        files = self._files()
        if files:
            found = dataset_of(files).to_table([CONTENT], filter=ds.field(NAME) == name)
            if len(found):
                return found.column(CONTENT)[0].as_py()
        raise ObjectMissing(f"no pack of the object store has the file {name}")

    def _files(self) -> list[str]:
        return [self._objects.uri(key) for key, _ in self._objects.keys(PREFIX)]
