//! Text from outside, made fit for a record: cut to a bound; escaping is the writer's job.

use std::sync::Arc;

use crate::config::limits::RECORD_STRING;

/// `text`, cut at a character boundary so that it and the mark of the cut fit in [`RECORD_STRING`] bytes.
pub(super) fn bounded(text: &str) -> Arc<str> {
    const MARK: &str = "\u{2026}";
    if text.len() <= RECORD_STRING {
        return text.into();
    }
    let end = text.floor_char_boundary(RECORD_STRING - MARK.len());
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push_str(MARK);
    cut.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character_and_never_over_the_bound() {
        assert_eq!(&*bounded("short"), "short");
        let exact = "x".repeat(RECORD_STRING);
        assert_eq!(&*bounded(&exact), exact);
        for wide in ["x", "é", "€", "😀"] {
            let cut = bounded(&wide.repeat(RECORD_STRING + 1));
            assert!(cut.len() <= RECORD_STRING, "{wide}: {}", cut.len());
            assert!(cut.len() > RECORD_STRING - 8 && cut.ends_with('…'), "{wide}");
        }
    }
}
