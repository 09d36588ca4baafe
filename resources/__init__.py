"""DOORS to outside systems, one per file; each says what it does about timeout, retry, cancel,
duplicate and partial write."""
