//! Sans-I/O parsers.
pub mod authority;
