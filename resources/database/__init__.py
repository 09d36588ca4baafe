"""The control database, its migrations, and what databases need of their clients."""
