//! What is fixed for the life of the process. [`limits`] is the one table of every limit.
pub mod limits;
