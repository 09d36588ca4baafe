"""Services on a cluster: objects, roll-out, pods and images."""
