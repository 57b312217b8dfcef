/// Something a peer says about itself or others (`baggage`, `forwarded`): fit for a log line, never for a decision.
///
/// There is no way to the inner value but [`Claimed::for_display`], so a rule cannot come to depend on it unnoticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed<T>(T);

impl<T> Claimed<T> {
    /// Marks `value` as merely claimed.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, to be shown to people only.
    pub fn for_display(&self) -> &T {
        &self.0
    }
}
