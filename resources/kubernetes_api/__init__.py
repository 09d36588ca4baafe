"""The Kubernetes API: its client, its settings, and what every pod has in common."""
