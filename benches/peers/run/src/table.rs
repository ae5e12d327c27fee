//! The figures of a workload as a Markdown table of medians.

use harness::{IdleReport, Report, Workload};

use crate::{
    case::Case,
    numbers::{absent, significant, spread},
    row::Row,
};

/// The table of calls or messages under load.
pub(crate) fn load(case: &Case, rows: &[Row<Report>]) -> String {
    let mut head = vec![
        "framework".to_owned(),
        format!("{}/s, median (low..high)", counted(case.workload)),
        "p50 / p99 / p99.9 us".to_owned(),
        "server CPU us each".to_owned(),
        "client CPU us each".to_owned(),
    ];
    head.extend(REFERENCES.map(|reference| format!("x {reference}")));
    markdown(&head, rows.iter().map(|row| load_line(row, rows)))
}

/// The table of idle connections.
pub(crate) fn idle(rows: &[Row<IdleReport>]) -> String {
    let head = [
        "framework",
        "bytes a connection, median (low..high)",
        "server before, MB",
        "server after, MB",
    ];
    let head = head.map(str::to_owned);
    markdown(&head, rows.iter().map(idle_line))
}

/// A table of `head` and `lines`, which have the same number of cells.
pub(crate) fn markdown(head: &[String], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = line(head);
    table.push_str(&line(&vec!["---".to_owned(); head.len()]));
    table.extend(lines.map(|cells| line(&cells)));
    table
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn load_line(row: &Row<Report>, rows: &[Row<Report>]) -> Vec<String> {
    let rates: Vec<_> = row.reports.iter().map(|r| r.calls_per_s).collect();
    let latencies = [
        row.median(|r| r.p50_us),
        row.median(|r| r.p99_us),
        row.median(|r| r.p999_us),
    ];
    let latencies = latencies.map(|cell| cell.map_or_else(absent, |us| format!("{us:.0}")));
    let mut cells = vec![
        row.framework.name().to_owned(),
        spread(&rates),
        latencies.join(" / "),
        row.server_cpu().map_or_else(absent, significant),
        row.client_cpu().map_or_else(absent, significant),
    ];
    cells.extend(REFERENCES.map(|reference| {
        let reference = rows.iter().find(|row| row.framework.name() == reference);
        let rates = row.rate().zip(reference.and_then(Row::rate));
        rates.map_or_else(absent, |(rate, reference)| ratio(rate / reference))
    }));
    cells
}

fn idle_line(row: &Row<IdleReport>) -> Vec<String> {
    let bytes: Vec<_> = row
        .reports
        .iter()
        .map(IdleReport::bytes_per_connection)
        .collect();
    let megabytes = |of: fn(&IdleReport) -> u64| {
        row.median(|report| Some(of(report) as f64 / 1e6))
            .map_or_else(absent, |mb| format!("{mb:.1}"))
    };
    vec![
        row.framework.name().to_owned(),
        spread(&bytes),
        megabytes(|report| report.before_bytes),
        megabytes(|report| report.after_bytes),
    ]
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.2}")
    }
}

/// The unit of a rate.
pub(crate) const fn counted(workload: Workload) -> &'static str {
    match workload {
        Workload::Stream => "items",
        Workload::OneWay => "messages",
        _ => "calls",
    }
}

/// The frameworks that the others are compared with.
const REFERENCES: [&str; 2] = ["tonic", "limit"];

#[cfg(test)]
mod tests {
    use harness::{IdleReport, Report};

    use super::{idle, load};
    use crate::{FRAMEWORKS, case::Case, row::Row};

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
        let mut rows: Vec<_> = FRAMEWORKS.iter().copied().map(Row::new).collect();
        for row in &mut rows {
            let rate = match row.framework.name() {
                "tonic" => 70_000.0,
                "limit" => 7_000_000.0,
                _ => continue,
            };
            row.reports = [1.5, 1.0, 0.5].map(|factor| report(rate * factor)).into();
        }
        let table = load(&Case::named("W1").unwrap(), &rows);
        let tonic = "| tonic | 70.0 k (35.0 k..105 k) | 62 / 100 / - | 13.1 | 0.190 \
                     | 1.00 | 0.010 |";
        assert!(table.contains(tonic), "{table}");
        assert!(
            table.contains("| tarpc | - | - / - / - | - | - | - | - |"),
            "{table}"
        );
    }

    #[test]
    fn an_idle_table_has_bytes_and_the_memory_around() {
        let mut row = Row::new(FRAMEWORKS[0]);
        row.reports = vec![IdleReport {
            framework: String::new(),
            conns: 1_000,
            before_bytes: 1_500_000,
            after_bytes: 6_500_000,
        }];
        let table = idle(&[row]);
        assert!(
            table.contains("| 5.00 k (5.00 k..5.00 k) | 1.5 | 6.5 |"),
            "{table}"
        );
    }
}
