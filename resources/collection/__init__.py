"""What is no longer kept, and its removal: `orrery gc`."""
