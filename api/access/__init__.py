"""Who sends a request, how people sign in, and what a declaration may name."""
