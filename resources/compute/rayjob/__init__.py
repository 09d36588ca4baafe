"""Engine jobs as RayJobs of a cluster."""
