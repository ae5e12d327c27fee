//! The results of one framework's rounds.

use harness::{Entry, IdleReport, Report};

use crate::numbers::median;

/// A framework and its reports, one per round; none if it lacks the workload.
#[derive(Debug)]
pub(crate) struct Row<R> {
    pub(crate) framework: Entry,
    pub(crate) reports: Vec<R>,
}

impl<R> Row<R> {
    pub(crate) const fn new(framework: Entry) -> Self {
        Self {
            framework,
            reports: Vec::new(),
        }
    }

    /// The median over the rounds of a figure; `None` if no round has it.
    pub(crate) fn median(&self, of: impl Fn(&R) -> Option<f64>) -> Option<f64> {
        median(self.reports.iter().filter_map(of).collect())
    }
}

impl Row<Report> {
    pub(crate) fn rate(&self) -> Option<f64> {
        self.median(|report| Some(report.calls_per_s))
    }

    pub(crate) fn server_cpu(&self) -> Option<f64> {
        self.median(|report| report.server_cpu_us_per_call)
    }

    pub(crate) fn client_cpu(&self) -> Option<f64> {
        self.median(|report| Some(report.client_cpu_us_per_call))
    }
}

impl Row<IdleReport> {
    pub(crate) fn bytes_per_connection(&self) -> Option<f64> {
        self.median(|report| Some(report.bytes_per_connection()))
    }
}
