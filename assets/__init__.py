"""WHAT exists: one factory per family of assets, from dataset to service."""
