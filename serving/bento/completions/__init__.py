"""Completions and chat completions by the protocol of OpenAI's clients."""
