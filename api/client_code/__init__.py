"""Writes the code of the client (`client/orrery`) that follows from the table of operations."""
