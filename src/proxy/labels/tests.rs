use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::config::limits::MAX_LABELS;
use crate::id::WorkloadId;

fn key(n: u8) -> Key {
    Key([n; 32])
}

fn who(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap()
}

fn labels(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// A table that counts the lines that it tells.
struct One {
    labels: Labels,
    line: AtomicU64,
}

impl One {
    fn new(total: usize, share: usize) -> Self {
        Self { labels: Labels::new(total, share), line: AtomicU64::new(0) }
    }

    fn tell(&self) -> u64 {
        self.line.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn begin(&self, n: u8, whose: &str) -> u64 {
        self.labels.begin(key(n), &who(whose), |_| self.tell())
    }

    fn add(&self, n: u8, names: &[&str]) -> Option<u64> {
        self.labels.add(&key(n), &labels(names), |_| self.tell())
    }

    fn adopt(&self, n: u8, names: &[&str], whole: bool, since: Option<u64>) {
        let told = Entry { principal: who("a"), labels: labels(names), whole };
        self.labels.adopt(key(n), told, since, |_| self.tell());
    }

    fn of(&self, n: u8) -> Option<Vec<Arc<str>>> {
        self.labels.of(&key(n))
    }
}

#[test]
fn labels_are_only_ever_added() {
    let one = One::new(8, 8);
    assert_eq!(one.of(1), None, "what was not seen to begin is not known");
    assert_eq!(one.add(1, &["x"]), None);
    let begun = one.begin(1, "a");
    assert_eq!(one.of(1), Some(vec![]));
    let x = one.add(1, &["x"]).unwrap();
    assert!(x > begun);
    assert_eq!(one.add(1, &["x"]), Some(x), "it waits for the line that told it");
    assert!(one.add(1, &["y", "x"]).unwrap() > x);
    assert_eq!(one.of(1), Some(labels(&["x", "y"])));
    // A server may hand an id out again.
    one.begin(1, "a");
    assert_eq!(one.of(1), Some(labels(&["x", "y"])));
    // Others tell of fewer.
    one.adopt(1, &[], true, Some(0));
    one.adopt(1, &["y"], true, None);
    assert_eq!(one.of(1), Some(labels(&["x", "y"])));
}

#[test]
fn what_another_has_just_learnt_is_no_whole_session() {
    let one = One::new(8, 8);
    one.adopt(1, &["x"], false, None);
    assert_eq!(one.of(1), None);
    // Now everything is told, by who saw it begin.
    one.adopt(1, &[], true, Some(0));
    assert_eq!(one.of(1), Some(labels(&["x"])));
}

#[test]
fn a_label_that_was_heard_of_is_told_again_before_it_counts_as_told() {
    let one = One::new(8, 8);
    one.adopt(1, &["x"], true, Some(0));
    assert_eq!(one.line.load(Ordering::Relaxed), 0, "not told on");
    assert_eq!(one.add(1, &["x"]), Some(1), "whoever told it may not have told everybody");
    one.adopt(1, &["y"], false, None);
    assert_eq!(one.line.load(Ordering::Relaxed), 2, "news is told on");
    assert_eq!(one.add(1, &["y"]), Some(2));
    one.adopt(1, &["y"], false, None);
    assert_eq!(one.line.load(Ordering::Relaxed), 2);
}

#[test]
fn what_was_forgotten_is_not_known_whoever_tells_of_it() {
    let one = One::new(8, 2);
    one.begin(1, "a");
    one.add(1, &["x"]);
    let since = one.labels.forgotten();
    for n in 2..4 {
        one.begin(n, "a");
    }
    assert_eq!(one.of(1), None);
    // It began to tell before: it may not have heard of the label.
    one.adopt(1, &[], true, Some(since));
    assert_eq!(one.of(1), None);
    one.adopt(1, &["x"], true, Some(one.labels.forgotten()));
    assert_eq!(one.of(1), Some(labels(&["x"])));
    one.labels.forget_all();
    assert_eq!((one.of(1), one.labels.len()), (None, 0));
    one.adopt(1, &["x"], true, Some(since));
    assert_eq!(one.of(1), None);
}

#[test]
fn whoever_fills_the_table_forgets_its_own() {
    let one = One::new(5, 4);
    one.begin(0, "b");
    for n in 1..=20 {
        one.begin(n, "a");
    }
    assert_eq!((one.labels.len(), one.of(0), one.of(20)), (5, Some(vec![]), Some(vec![])));
    one.begin(21, "b");
    one.begin(22, "b");
    assert_eq!(one.labels.len(), 5);
    assert!(one.of(0).is_some() && one.of(22).is_some(), "whoever has most loses one");
}

#[test]
fn a_session_has_so_many_labels_at_most() {
    let one = One::new(8, 8);
    one.begin(1, "a");
    let names: Vec<String> = (0..=MAX_LABELS).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(one.add(1, &names), None, "what does not fit is not kept, and its answer is refused");
    assert!(one.add(1, &names[1..]).is_some());
}

#[test]
fn keys_are_read_as_they_are_written() {
    assert_eq!(Key::parse(&key(0xa5).text()), Some(key(0xa5)));
    for wrong in ["", "a5", &"g".repeat(64), &"+1".repeat(32), &"0".repeat(66)] {
        assert_eq!(Key::parse(wrong), None, "{wrong}");
    }
}
