"""The data files of a dataset: one Parquet file for the rows that a block has in a split, named by
the hash of the block, which all versions share that have the block."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.packed import is_packed
from resources.datasets.blocks import text_columns
from resources.datasets.sources.spool import spool
from resources.datasets.splits import SPLITS
from resources.storage.object_store import ObjectStore

FOLDER = "fragments"
RECORDS = ".json"
"""How the names of files end that name fragments."""
WIDE = 1_000
"""Columns above which files are written without dictionaries and statistics, which cost more than
the values."""


class Fragments:
    """Writes the blocks of one version that is being made."""

    def __init__(self, objects: ObjectStore, dataset: str, folder: Path) -> None:
        """Files are written in the folder and then stored under the key of the dataset."""
        self._objects, self._key, self._folder = objects, f"{dataset}/{FOLDER}", folder
        self._there = set(self._sizes())
        self._named: dict[str, list[str]] = {split: [] for split in SPLITS}

    def keep(self, digest: str, rows: pa.Table, codes: np.ndarray) -> None:
        """Store the rows of the next block by the codes of their splits, unless they are there.
        Raises OSError."""
        for code, split in enumerate(SPLITS):
            is_in = codes == code
            if not is_in.any():
                continue
            key = f"{self._key}/{digest}-{split}.parquet"
            self._named[split].append(key)
            if key not in self._there:
                self._write(rows if is_in.all() else rows.filter(pa.array(is_in)), key)

    def of_split(self) -> dict[str, list[str]]:
        """Addresses of the files of each split, in the order of their rows."""
        return {name: [self._objects.uri(k) for k in keys] for name, keys in self._named.items()}

    def size(self) -> int:
        """Bytes of all files. Raises OSError where one of them is gone."""
        sizes = self._sizes()
        keys = [key for keys in self._named.values() for key in keys]
        if gone := [key for key in keys if key not in sizes]:
            raise OSError(
                f"{self._objects.uri(gone[0])} was removed while a version was made that needs it; "
                "materialise the dataset again"
            )
        return sum(sizes[key] for key in keys)

    def _sizes(self) -> dict[str, int]:
        return dict(self._objects.keys(f"{self._key}/"))

    def _write(self, rows: pa.Table, key: str) -> None:
        import pyarrow.parquet as pq

        file = self._folder / _name(key)
        pq.write_table(rows, file, **_options(rows.schema))
        self._objects.put_file(file, key, is_spare=True)
        file.unlink(missing_ok=True)


@contextmanager
def fragments_of(objects: ObjectStore, dataset: str) -> Iterator[Fragments]:
    """What writes the fragments of the dataset under the key."""
    with spool() as scratch:
        yield Fragments(objects, dataset, scratch.folder())


def unreferenced(
    objects: ObjectStore, dataset: str, older_than_s: float, going: frozenset[str] = frozenset()
) -> list[str]:
    """Keys of the fragments of the dataset that no version names but those that are `going`, and
    that were written so long ago: those of a version that is being made are named by it once it is
    whole.

    Raises OSError, or ValueError for a record of a version that cannot be read.
    """
    # Listed before the records are read, so that one which comes meanwhile counts.
    before = time.time() - older_than_s
    written = list(objects.listed(f"{dataset}/{FOLDER}/"))
    named = set[str]()
    for key, _ in objects.keys(f"{dataset}/"):
        version = key.removeprefix(f"{dataset}/").partition("/")[0]
        if key.endswith(RECORDS) and version not in going:
            record = json.loads(objects.get_text(key))
            named |= {_name(file) for split in SPLITS for file in record.get(split, ())}
    return [f.key for f in written if f.modified < before and _name(f.key) not in named]


def _name(address: str) -> str:
    return address.rpartition("/")[2]


def _options(schema: pa.Schema) -> dict[str, Any]:
    if packs := [field.name for field in schema if is_packed(field.type)]:
        # Parquet has no bytes among its numbers: byte by byte their zeros take no space.
        split = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in packs}
        texts = text_columns(schema)
        return {
            "column_encoding": split,
            "use_dictionary": texts,
            "write_statistics": [name for name in schema.names if name not in packs],
        }
    if len(schema) > WIDE:
        return {"use_dictionary": False, "write_statistics": False}
    # Numbers with decimals hardly repeat.
    return {"use_dictionary": [f.name for f in schema if not pa.types.is_floating(f.type)]}
