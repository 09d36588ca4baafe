"""The Dagster and MLflow UIs behind the sign-in."""
