//! Sans-I/O parsers of everything that comes over the wire.

pub mod authority;
