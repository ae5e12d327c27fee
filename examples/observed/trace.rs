//! Collects the spans of the program, and prints a trace as a tree. A program in production exports them
//! instead: see `docs/observability.md`.

use std::error::Error;

use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The spans that have ended.
pub(crate) struct Spans {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
}

/// Collects the spans of wawo and of the program from now on.
pub(crate) fn collect() -> Result<Spans, Box<dyn Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("observed"));
    tracing_subscriber::registry()
        .with(layer.with_filter(LevelFilter::DEBUG))
        .try_init()?;
    Ok(Spans { exporter, provider })
}

impl Spans {
    /// Prints the first trace that begins with a span of this name; returns the number of its spans.
    pub(crate) fn print(&self, name: &str) -> Result<usize, Box<dyn Error>> {
        self.provider.force_flush()?;
        let mut spans = self.exporter.get_finished_spans()?;
        spans.sort_by_key(|span| span.start_time);
        let is_root =
            |span: &&SpanData| span.parent_span_id == SpanId::INVALID && span.name == name;
        let root = spans.iter().find(is_root).ok_or("there is no such trace")?;
        Ok(print_tree(&spans, root, 1))
    }
}

/// Prints a span and those below it.
fn print_tree(spans: &[SpanData], span: &SpanData, level: usize) -> usize {
    let took = span.end_time.duration_since(span.start_time);
    let took = took.unwrap_or_default().as_millis();
    println!(
        "{:indent$}{} ({:?}, {took} ms)",
        "",
        span.name,
        span.span_kind,
        indent = 2 * level
    );
    let id = span.span_context.span_id();
    let children = spans.iter().filter(|child| child.parent_span_id == id);
    1 + children
        .map(|child| print_tree(spans, child, level + 1))
        .sum::<usize>()
}
