"""The door to the model hub."""
