"""Adapters to outside systems, a folder for each kind of system; every adapter says what it does
about timeout, retry, cancel, duplicate and partial write."""
