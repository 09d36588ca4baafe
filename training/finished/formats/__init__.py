"""The formats of finished models, one module each."""
