"""MLflow: experiments, runs, the registry of models, and MLflow's own database and server."""
