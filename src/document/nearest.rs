//! "Did you mean": the known word nearest to a misspelt one.

/// The candidate at the smallest edit distance from `word`, if it is near enough to be what was meant. Case does not
/// count, so that `agentpolicy` is as near to `AgentPolicy` as can be.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let near = |candidate: &&str| distance(&folded, &fold(candidate));
    let best = candidates.into_iter().min_by_key(near)?;
    let reach = if best.chars().count() <= 4 { 1 } else { best.chars().count().div_ceil(3).min(4) };
    (near(&best) <= reach).then_some(best)
}

/// Whether `word` is at most `reach` edits away from `other`, whatever their case.
pub(crate) fn within(word: &str, other: &str, reach: usize) -> bool {
    distance(&fold(word), &fold(other)) <= reach
}

/// Beyond this no word of an API is: longer ones are cut, so that hostile text costs nothing.
const LONGEST: usize = 64;

fn fold(word: &str) -> Vec<char> {
    word.chars().take(LONGEST).flat_map(char::to_lowercase).collect()
}

/// Levenshtein distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let d = |a: &str, b: &str| distance(&fold(a), &fold(b));
        for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("A", "a", 0)] {
            assert_eq!(d(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn near_words_are_named_and_far_ones_are_not() {
        let known = ["tools", "notTools", "prompts", "http", "to"];
        let rows = [
            ("tool", Some("tools")),
            ("Tools", Some("tools")),
            ("nottools", Some("notTools")),
            ("prompt", Some("prompts")),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest("unrelated", known), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
    }
}
