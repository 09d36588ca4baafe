"""Tools for AI agents: what they are, what they would do, and doing it on consent."""
