//! A part of the report.

use crate::chart::Chart;

/// A heading, a table and notes.
#[derive(Debug)]
pub(crate) struct Section {
    /// A short name, for the files of this section.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) table: String,
    pub(crate) note: String,
    /// Each with a word for its file name.
    pub(crate) charts: Vec<(&'static str, Chart)>,
}

impl Section {
    /// As Markdown, with a third-level heading.
    pub(crate) fn markdown(&self) -> String {
        let Self {
            title, table, note, ..
        } = self;
        format!("### {title}\n\n{table}\n{note}\n")
    }
}
