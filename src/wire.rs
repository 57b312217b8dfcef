//! Sans-I/O parsers and writers for every wire format that we speak. Bytes in, values out; no I/O, no policy, no clock.
pub mod authority;
pub mod path;
pub mod http1;
