"""The targets that are shipped, one module for each runtime, of the same name."""
