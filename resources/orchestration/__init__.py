"""Dagster's instance, daemon, launchers, events and GraphQL: all that touches its insides."""
