"""The adapter to where rows come from: bundled sets, files and buckets, SQL over files, image
folders, and the request logs of services.

timeout: pyarrow's and DuckDB's own; bundled sets and files are local reads.
retry: a bucket that does not answer is SourceUnreachable, an OSError; a source that cannot be read
    fails the materialisation with its reason.
cancel: nothing is written here but temporary copies, which end with the call.
duplicate: reading twice gives the same table while the source stands still.
partial write: a file that is still being written is corrupt or short, and says so.
"""

from resources.datasets.sources.derived import Origins, Predictor
from resources.datasets.sources.listing import list_files, watched_files
from resources.datasets.sources.rows import SourceRows, SourceUnreachable, SourceUnreadable
from resources.datasets.sources.schemes import Sources

__all__ = [
    "Origins",
    "Predictor",
    "SourceRows",
    "SourceUnreachable",
    "SourceUnreadable",
    "Sources",
    "list_files",
    "watched_files",
]
