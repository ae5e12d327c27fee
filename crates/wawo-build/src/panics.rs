//! Turns panics of a library into values.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether a panic of this thread becomes a value and is not printed.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a closure. If it panics, returns the text of the panic.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // The hook is installed once and never removed, because other threads may panic or catch at the
    // same time.
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                print(info);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(outer);
    result.map_err(|payload| text(&*payload))
}

fn text(payload: &(dyn Any + Send)) -> String {
    match (
        payload.downcast_ref::<String>(),
        payload.downcast_ref::<&str>(),
    ) {
        (Some(text), _) => text.clone(),
        (_, Some(text)) => (*text).to_owned(),
        _ => "a panic without a text".to_owned(),
    }
}
