"""WHEN: what happens outside and starts the next turn of the loop."""
