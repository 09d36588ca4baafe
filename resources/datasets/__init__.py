"""Datasets: where they are read from, what they are checked for, and their immutable versions."""
