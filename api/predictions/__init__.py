"""Predictions, passed on to the router of services."""
