use super::TABLE;
use super::elsewhere::ELSEWHERE;

/// What to say of a path that is not in the table.
pub(in crate::policy) fn unknown(path: &str) -> String {
    for (pattern, nearest) in ELSEWHERE {
        let same = match pattern.strip_suffix(".*") {
            Some(root) => path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('.')),
            None => path == *pattern || path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('.')),
        };
        if same && nearest.is_empty() {
            return format!("`{path}` is a name of agentgateway that is not available here");
        }
        if same {
            return format!(
                "`{path}` is a name of agentgateway that is not available here; the nearest is `{nearest}`"
            );
        }
    }
    let nearest = TABLE.iter().min_by_key(|row| distance(path, row.path));
    match nearest.filter(|row| distance(path, row.path) <= 1 + path.len() / 3) {
        Some(row) => format!("unknown name `{path}`; did you mean `{}`?", row.path),
        None => {
            let roots: Vec<&str> = TABLE.iter().map(|row| row.path).filter(|path| !path.contains('.')).collect();
            format!("unknown name `{path}`; names begin with {}", roots.join(", "))
        }
    }
}

/// Edit distance, ASCII case ignored.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (r, pair) in right.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let change = diagonal + usize::from(!l.eq_ignore_ascii_case(r));
            let before = next.last().copied().unwrap_or(i + 1);
            next.push(change.min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
