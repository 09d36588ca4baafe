"""Where services run: on this machine, or as Deployments."""
