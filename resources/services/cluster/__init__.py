"""Services on a cluster: objects, rollout, pods and images."""
