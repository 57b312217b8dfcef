"""A Kubernetes control plane with a stock istiod on one machine, and a kubelet's part played in network namespaces."""
