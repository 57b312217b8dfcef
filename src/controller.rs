//! The control plane in Kubernetes.

pub mod guard;
