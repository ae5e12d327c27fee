//! The reports of a workload as a Markdown table of medians.

use std::fmt::Write as _;

use harness::{Entry, Report};

use crate::case::Case;

/// A framework and what its rounds gave; none if it lacks the workload.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) framework: Entry,
    pub(crate) reports: Vec<Report>,
}

impl Row {
    pub(crate) const fn new(framework: &Entry) -> Self {
        Self {
            framework: *framework,
            reports: Vec::new(),
        }
    }

    fn median(&self, of: impl Fn(&Report) -> Option<f64>) -> Option<f64> {
        median(self.reports.iter().filter_map(of).collect())
    }

    fn rate(&self) -> Option<f64> {
        self.median(|report| Some(report.calls_per_s))
    }

    fn rate_cell(&self) -> String {
        let rates = || self.reports.iter().map(|report| report.calls_per_s);
        let lowest = rates().fold(f64::INFINITY, f64::min);
        let highest = rates().fold(0.0, f64::max);
        let cell = |rate| {
            format!(
                "{} ({}..{})",
                significant(rate),
                significant(lowest),
                significant(highest)
            )
        };
        self.rate().map_or_else(absent, cell)
    }

    fn latency_cell(&self) -> String {
        let cell = |of: fn(&Report) -> Option<f64>| {
            self.median(of)
                .map_or_else(absent, |micros| format!("{micros:.0}"))
        };
        let cells = [cell(|r| r.p50_us), cell(|r| r.p99_us), cell(|r| r.p999_us)];
        cells.join(" / ")
    }
}

/// The table of `case`.
pub(crate) fn markdown(case: &Case, rows: &[Row]) -> String {
    let Case {
        name,
        workload,
        conns,
        inflight,
        size,
    } = case;
    let mut table = format!("### {name}: {workload}, {size} B, {conns} x {inflight}\n\n");
    table.push_str("| framework | calls/s (min..max) | p50 / p99 / p99.9 us ");
    table.push_str("| server us/call | client us/call ");
    for reference in REFERENCES {
        let _ = write!(table, "| x {reference} ");
    }
    table.push_str("|\n|---|---|---|---|---");
    table.push_str(&"|---".repeat(REFERENCES.len()));
    table.push_str("|\n");
    for row in rows {
        let _ = writeln!(table, "{}", line(row, rows));
    }
    table
}

fn line(row: &Row, rows: &[Row]) -> String {
    let cpu = |of: fn(&Report) -> Option<f64>| row.median(of).map_or_else(absent, significant);
    let mut cells = vec![
        row.framework.name().to_owned(),
        row.rate_cell(),
        row.latency_cell(),
        cpu(|report| report.server_cpu_us_per_call),
        cpu(|report| Some(report.client_cpu_us_per_call)),
    ];
    cells.extend(REFERENCES.map(|reference| {
        let rate_of = |name: &str| rows.iter().find(|row| row.framework.name() == name)?.rate();
        let ratio = row
            .rate()
            .zip(rate_of(reference))
            .map(|(rate, reference)| rate / reference);
        ratio.map_or_else(absent, |ratio| format!("{ratio:.2}"))
    }));
    format!("| {} |", cells.join(" | "))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle], values[middle + 1])
    })
}

/// Three digits, in millions or thousands when large.
fn significant(value: f64) -> String {
    let (scaled, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{scaled:.digits$}{unit}")
}

fn absent() -> String {
    "-".to_owned()
}

/// What the others are compared with.
const REFERENCES: [&str; 3] = ["tonic", "tarpc", "limit"];

#[cfg(test)]
mod tests {
    use harness::Report;

    use super::{Row, markdown, median, significant};
    use crate::{FRAMEWORKS, case::Case};

    fn report(calls_per_s: f64) -> Report {
        Report {
            framework: String::new(),
            workload: "unary".to_owned(),
            conns: 1,
            inflight: 1,
            size: 32,
            calls: 1,
            secs: 1.0,
            calls_per_s,
            p50_us: Some(61.6),
            p99_us: Some(100.0),
            p999_us: None,
            client_cpu_s: 0.5,
            server_cpu_s: Some(0.5),
            client_cpu_us_per_call: 0.1904,
            server_cpu_us_per_call: Some(13.14),
        }
    }

    #[test]
    fn a_table_has_medians_extremes_and_ratios() {
        let mut rows: Vec<_> = FRAMEWORKS.iter().map(Row::new).collect();
        for row in &mut rows {
            let rate = match row.framework.name() {
                "tonic" => 70_000.0,
                "limit" => 7_000_000.0,
                _ => continue,
            };
            row.reports = [1.5, 1.0, 0.5].map(|factor| report(rate * factor)).into();
        }
        let table = markdown(&Case::named("W1").unwrap(), &rows);
        let tonic = "| tonic | 70.0 k (35.0 k..105 k) | 62 / 100 / - | 13.1 | 0.190 \
                     | 1.00 | - | 0.01 |";
        assert!(table.contains(tonic), "{table}");
        assert!(
            table.contains("| tarpc | - | - / - / - | - | - | - | - | - |"),
            "{table}"
        );
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(significant(1_460_000.0), "1.46 M");
        assert_eq!(significant(70_500.0), "70.5 k");
        assert_eq!(significant(586.4), "586");
        assert_eq!(significant(0.19), "0.190");
    }
}
