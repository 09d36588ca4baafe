"""What the namespace and the cluster must hold."""
