"""The Helm chart in `deploy/helm/orrery`, written from the Kustomize manifests."""
