"""Which sources are read in portions, because they are too large for memory."""

LARGE_BYTES = 256 << 20
"""Size of files, or of the rows of a query, from which they are."""
