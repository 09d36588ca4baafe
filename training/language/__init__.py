"""Trainers that fine-tune networks of transformers on texts."""
