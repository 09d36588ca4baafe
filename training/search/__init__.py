"""Search: trials of one trainer with different hyperparameters, the best of which is the job's."""
