//! The charts of a workload.
//!
//! They leave out `limit`, whose scale would make the others look alike.

use harness::{IdleReport, Report};

use crate::{
    case::Case,
    chart::{Bar, Chart},
    row::Row,
    table::counted,
};

/// The rate, and the CPU time of both sides.
pub(crate) fn load(case: &Case, rows: &[Row<Report>]) -> Vec<(&'static str, Chart)> {
    let counted = counted(case.workload);
    let rate = Chart {
        title: format!("{}: {counted} per second, more is better", case.name),
        parts: &["rate"],
        bars: bars(rows, |row| Some(vec![row.rate()?])),
    };
    let cpu = Chart {
        title: format!(
            "{}: CPU us for each of the {counted}, less is better",
            case.name
        ),
        parts: &["server", "client"],
        bars: bars(rows, |row| Some(vec![row.server_cpu()?, row.client_cpu()?])),
    };
    vec![("rate", rate), ("cpu", cpu)]
}

/// The memory per connection.
pub(crate) fn idle(case: &Case, rows: &[Row<IdleReport>]) -> Vec<(&'static str, Chart)> {
    let memory = Chart {
        title: format!(
            "{}: bytes in the server a connection, less is better",
            case.name
        ),
        parts: &["memory"],
        bars: bars(rows, |row| Some(vec![row.bytes_per_connection()?])),
    };
    vec![("memory", memory)]
}

/// A bar for each row in which `parts` finds its figures.
fn bars<R>(rows: &[Row<R>], parts: impl Fn(&Row<R>) -> Option<Vec<f64>>) -> Vec<Bar> {
    let shown = rows.iter().filter(|row| row.framework.name() != "limit");
    let bar = |row: &Row<R>| {
        Some(Bar {
            label: row.framework.name().to_owned(),
            parts: parts(row)?,
        })
    };
    shown.filter_map(bar).collect()
}

#[cfg(test)]
mod tests {
    use harness::IdleReport;

    use super::idle;
    use crate::{FRAMEWORKS, case::Case, row::Row};

    #[test]
    fn frameworks_without_figures_and_the_limit_have_no_bar() {
        let mut rows: Vec<_> = FRAMEWORKS.iter().copied().map(Row::new).collect();
        let shown = ["limit", "tonic"];
        for row in rows
            .iter_mut()
            .filter(|row| shown.contains(&row.framework.name()))
        {
            row.reports.push(IdleReport {
                framework: String::new(),
                conns: 10,
                before_bytes: 0,
                after_bytes: 1_000,
            });
        }
        let charts = idle(&Case::named("W7").unwrap(), &rows);
        let bars = &charts[0].1.bars;
        assert_eq!(bars.len(), 1);
        assert_eq!((&*bars[0].label, &*bars[0].parts), ("tonic", &[100.0][..]));
    }
}
