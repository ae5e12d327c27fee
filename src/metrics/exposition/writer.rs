//! Writes families and samples in either format.

use std::fmt::{Display, Write};

use crate::metrics::{
    durations::CallDurations,
    families::{Family, Kind},
};

/// A format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::metrics) enum Format {
    /// Prometheus' own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A label: its name and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

pub(super) struct TextWriter {
    text: String,
    format: Format,
    family: Option<Family>,
    /// The head of a family is written with its first sample.
    has_head: bool,
}

impl TextWriter {
    pub(super) fn new(format: Format) -> Self {
        Self {
            text: String::new(),
            format,
            family: None,
            has_head: false,
        }
    }

    /// Begins a family, to which the samples that follow belong.
    pub(super) fn family(&mut self, family: Family) {
        self.family = Some(family);
        self.has_head = false;
    }

    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: u64) {
        let is_counter = self
            .family
            .as_ref()
            .is_some_and(|it| it.kind == Kind::Counter);
        self.line(if is_counter { "_total" } else { "" }, labels, value);
    }

    /// Writes a sample, unless it is zero: for counts of things that most methods never see.
    pub(super) fn sample_if_any(&mut self, labels: &[Label<'_>], value: u64) {
        if value > 0 {
            self.sample(labels, value);
        }
    }

    pub(super) fn histogram(&mut self, labels: &[Label<'_>], durations: &CallDurations) {
        for (bound, count) in durations.at_most() {
            let bound = self.bound(bound.as_secs_f64());
            self.line("_bucket", &with_bound(labels, &bound), count);
        }
        let count = durations.count();
        self.line("_bucket", &with_bound(labels, "+Inf"), count);
        self.line("_count", labels, count);
        self.line("_sum", labels, durations.sum_seconds());
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text += "# EOF\n";
        }
        self.text
    }

    fn bound(&self, seconds: f64) -> String {
        match self.format {
            Format::Prometheus => seconds.to_string(),
            // With a point, also in whole numbers.
            Format::OpenMetrics => format!("{seconds:?}"),
        }
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        if !self.has_head {
            self.has_head = true;
            self.head();
        }
        self.text += self.family.as_ref().map_or("", |family| family.name);
        self.text += suffix;
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text += name;
            self.text += "=\"";
            self.escape(value);
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.print(format_args!("{close} {value}\n"));
    }

    fn head(&mut self) {
        let Some(family) = self.family.take() else {
            return;
        };
        let Family { name, help, .. } = family;
        let kind = family.kind.name();
        let is_counter = family.kind == Kind::Counter;
        let suffix = match self.format {
            Format::Prometheus if is_counter => "_total",
            _ => "",
        };
        self.print(format_args!("# HELP {name}{suffix} {help}\n"));
        self.print(format_args!("# TYPE {name}{suffix} {kind}\n"));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, family.unit) {
            self.print(format_args!("# UNIT {name} {unit}\n"));
        }
        self.family = Some(family);
    }

    fn escape(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.text += "\\\\",
                '"' => self.text += "\\\"",
                '\n' => self.text += "\\n",
                c => self.text.push(c),
            }
        }
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(text);
    }
}

/// The labels of a bucket.
fn with_bound<'a>(labels: &[Label<'a>], bound: &'a str) -> Vec<Label<'a>> {
    labels.iter().copied().chain([("le", bound)]).collect()
}
