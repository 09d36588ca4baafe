"""A process that has heavy modules loaded, and forks others from itself."""
