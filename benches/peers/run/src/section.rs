//! A part of the report.

use crate::chart::Chart;

/// A heading, a table and what has to be said about it.
#[derive(Debug)]
pub(crate) struct Section {
    /// A short name, for the files that go with it.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) table: String,
    pub(crate) note: String,
    /// Each with the word that names its file.
    pub(crate) charts: Vec<(&'static str, Chart)>,
}

impl Section {
    /// As Markdown, with a heading of the third level.
    pub(crate) fn markdown(&self) -> String {
        let Self {
            title, table, note, ..
        } = self;
        format!("### {title}\n\n{table}\n{note}\n")
    }
}
