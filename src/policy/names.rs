//! The one table of CEL names.
