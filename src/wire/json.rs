//! JSON (RFC 8259), read strictly and written canonically.
//!
//! [`parse`] refuses what two parsers might read in two ways: duplicate keys, lone surrogates, numbers beyond a double,
//! anything but UTF-8, bytes after the value. [`write`] is the one form in which a value leaves: order and number text
//! as they came, no white space, only the escapes that RFC 8259 section 7 demands. [`write_canonical`] is the form that is
//! signed (RFC 8785), and never leaves.

mod canonical;
mod parse;
mod scan;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use canonical::{write_canonical, write_canonical_with_numbers_as_written};
pub use parse::{parse, parse_call};
pub use write::{FIRST, escape, write, write_object, write_string};

/// Why a text is not JSON that may pass, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct JsonFault {
    kind: JsonFaultKind,
    at: usize,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JsonFaultKind {
    /// Not UTF-8 (RFC 8259 section 8.1).
    #[error("not UTF-8")]
    NotUtf8,
    /// A byte order mark (RFC 8259 section 8.1).
    #[error("byte order mark")]
    ByteOrderMark,
    /// Not the grammar of RFC 8259, or the text ends early.
    #[error("not JSON")]
    Syntax,
    /// More than white space after the value.
    #[error("more than one value")]
    Trailing,
    /// Two keys of one object are equal once decoded.
    #[error("duplicate key")]
    DuplicateKey,
    /// Nested deeper than `MAX_DEPTH`.
    #[error("nested too deep")]
    TooDeep,
    /// More values than `MAX_NODES`.
    #[error("too many values")]
    TooMany,
    /// Half of a surrogate pair.
    #[error("lone surrogate")]
    LoneSurrogate,
    /// A number that is not finite as an IEEE double.
    #[error("number out of range")]
    NotFinite,
    /// A raw control character in a string, or NUL in a key.
    #[error("control character")]
    Control,
}

impl JsonFault {
    /// What is wrong.
    pub fn kind(&self) -> JsonFaultKind {
        self.kind
    }

    /// Offset of the offending byte; for a duplicate key, of the object that has it.
    pub fn at(&self) -> usize {
        self.at
    }

    /// A fixed word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            JsonFaultKind::NotUtf8 => "json_not_utf8",
            JsonFaultKind::ByteOrderMark => "json_byte_order_mark",
            JsonFaultKind::Syntax => "json_syntax",
            JsonFaultKind::Trailing => "json_trailing",
            JsonFaultKind::DuplicateKey => "json_duplicate_key",
            JsonFaultKind::TooDeep => "json_too_deep",
            JsonFaultKind::TooMany => "json_too_many",
            JsonFaultKind::LoneSurrogate => "json_lone_surrogate",
            JsonFaultKind::NotFinite => "json_number_range",
            JsonFaultKind::Control => "json_control",
        }
    }
}
