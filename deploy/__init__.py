"""Tools of an operator over a deployment."""
