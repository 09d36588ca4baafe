"""The runtimes that are shipped, one module each."""
