"""Rows of a large source on the disk of this machine, while a version is made of them."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.datasets.streams import release_memory

PREFIX = "orrery-spool-"
LOCK = ".lock"


class Spool:
    """A folder that is made when it is needed."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """The folder ends with the stack."""
        self._stack = stack
        self._root: Path | None = None
        self._files = 0

    @property
    def root(self) -> Path:
        """The folder."""
        if self._root is None:
            _sweep()
            folder = tempfile.TemporaryDirectory(prefix=PREFIX)
            self._root = Path(self._stack.enter_context(folder))
            new = self._root / "lock"
            lock = self._stack.enter_context(new.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Renamed once it is locked, so that nobody finds it free.
            new.rename(self._root / LOCK)
        return self._root

    def folder(self) -> Path:
        """A new folder that ends with the spool."""
        return Path(tempfile.mkdtemp(dir=self.root))

    def write(self, tables: Iterator[pa.Table]) -> Path:
        """A Parquet file with the rows of the tables, which are of one schema and at least one."""
        (file,) = self.write_each((0, table) for table in tables).values()
        return file

    def write_each(self, tables: Iterator[tuple[int, pa.Table]]) -> dict[int, Path]:
        """Parquet files with the rows of the tables, one for each of the numbers, which come one
        after the other."""
        import pyarrow.parquet as pq

        files: dict[int, Path] = {}
        writer: Any = None
        try:
            for number, table in tables:
                if number not in files:
                    if writer is not None:
                        writer.close()
                    files[number] = self.root / f"{self._files}.parquet"
                    self._files += 1
                    writer = pq.ParquetWriter(files[number], table.schema, **_of_short_life(table))
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
        release_memory()
        return files


def _of_short_life(table: pa.Table) -> dict[str, Any]:
    """What makes a file quick to write that is soon deleted."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    return {"use_dictionary": texts, "write_statistics": False, "compression": "lz4"}


@contextlib.contextmanager
def spool() -> Iterator[Spool]:
    """A spool whose folder is deleted at the end; that of a process which was killed is deleted
    by the next that needs one."""
    with contextlib.ExitStack() as stack:
        yield Spool(stack)


def _sweep() -> None:
    """Delete the folders whose process is gone."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
