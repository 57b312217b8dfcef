//! Endpoints behind HBONE and behind TLS: only whoever is expected gets a byte.

