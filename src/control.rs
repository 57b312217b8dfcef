//! Everything that tells the data path what is so: it publishes, and never serves.

pub mod files;
