//! A program whose subscriber leaves out the spans of calls is told so.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::{Dispatch, Event, Level, Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
};
use wawo_otel::Traces;

use crate::support::{Node, script};

/// Collects the texts of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::WARN {
            event.record(&mut |_: &Field, text: &dyn std::fmt::Debug| {
                self.0.lock().unwrap().push(format!("{text:?}"));
            });
        }
    }
}

/// See `support`.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default()));

#[tokio::test]
async fn filters_that_leave_out_the_spans_are_reported_once() {
    LazyLock::force(&SECOND);
    let warnings = Warnings::default();
    // As `tracing_subscriber::fmt::init` does it: such a filter tells no level for all.
    let filter = Targets::new().with_default(LevelFilter::INFO);
    let subscriber = Registry::default().with(warnings.clone()).with(filter);
    let _guard = tracing::subscriber::set_default(subscriber);
    let echo = Node::default().traced(Traces::new());
    for _ in 0..3 {
        echo.act(script("")).await.unwrap();
    }
    let texts = warnings.0.lock().unwrap();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("wawo::call=debug"), "{texts:?}");
}
