//! Medians of all rounds, side by side.

use std::fmt::Write as _;

/// Rows in the order in which they were first measured.
#[derive(Debug)]
pub(crate) struct Table {
    beside: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    remark: &'static str,
    ours: Vec<f64>,
    other: Vec<f64>,
}

impl Table {
    /// Of ours and what is called `beside`.
    pub(crate) fn new(beside: &'static str) -> Self {
        Self { beside, rows: vec![] }
    }

    pub(crate) fn add(&mut self, what: &str, by: &str, value: f64, remark: &'static str) {
        let at = self.rows.iter().position(|row| row.what == what);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row { what: what.to_owned(), remark, ours: vec![], other: vec![] });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        if by == self.beside { row.other.push(value) } else { row.ours.push(value) }
    }

    /// Median and (least to most) of each, and the ratio of the medians.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("| what | agent-waypoint | {} | ratio | |\n|---|---:|---:|---:|---|\n", self.beside);
        for row in &self.rows {
            let ratio = median(&row.ours) / median(&row.other);
            let ratio = if ratio.is_nan() { "–".to_owned() } else { format!("{ratio:.2}") };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {ratio} | {} |",
                row.what,
                shown(&row.ours),
                shown(&row.other),
                row.remark
            );
        }
        out
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| serde_json::json!({"what": row.what, "agentWaypoint": row.ours, "beside": self.beside, "other": row.other, "remark": row.remark}))
            .collect();
        serde_json::to_string_pretty(&rows).unwrap_or_default()
    }
}

fn shown(values: &[f64]) -> String {
    if values.is_empty() {
        return "–".to_owned();
    }
    let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
    format!("{} ({}–{})", number(median(values)), number(least), number(most))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
