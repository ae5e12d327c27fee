//! A layer that declares handlers as blocking.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::request::Request;

/// Declares that the handlers of a service, or of one method, block their thread or compute for long.
/// They run in the threads that tokio keeps for such work (`spawn_blocking`), and their requests are
/// decoded there. The schema says the same by `option (wawo.method).blocking = true`.
///
/// ```
/// # fn blocking<S: wawo::Serve>(files: S) -> impl wawo::Serve {
/// use wawo::layer::BlockingLayer;
///
/// let layer = BlockingLayer::new();
/// // Then, with a generated server: FilesServer::new(disk).layer(layer)
/// # wawo::Layered::new(files, layer, None)
/// # }
/// ```
///
/// It works in any runtime, also on one thread and with [`workers`](crate::ServerConfigBuilder::workers).
/// Code of such a handler may block; it may also await, make calls, and block on futures. Layers and
/// their limits apply as for other handlers.
///
/// - A call that is cancelled, or whose deadline passes, ends for its caller. Its handler is dropped when
///   it next waits. A thread that is blocked cannot be stopped; from then on only
///   `max_connection_decoded_bytes` counts it, as 1 KiB and its request. Code that blocks for long should
///   check [`Context::is_cancelled`](crate::Context::is_cancelled) now and then.
/// - tokio has 512 such threads for a runtime (`max_blocking_threads`), which also look up host names and
///   read files. Further handlers wait for a thread, within their deadlines; at most `max_calls` of a
///   connection wait. Limit those of a method by [`InFlightLayer`](crate::layer::InFlightLayer).
/// - A stream of replies that it returns is polled as any other, where nothing may block: fill a
///   [`Streaming::channel`](crate::Streaming::channel) from a thread instead.
/// - Going to another thread and back costs some ten microseconds for a call.
///
/// Use it on the side that serves, around generated servers: other services ignore it.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct BlockingLayer(());

impl BlockingLayer {
    /// Creates the layer, which has no settings.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for BlockingLayer {
    type Service = BlockingService<S>;

    fn layer(&self, inner: S) -> BlockingService<S> {
        BlockingService { inner }
    }
}

/// A service whose handlers block; made by [`BlockingLayer`].
#[derive(Debug, Clone)]
pub struct BlockingService<S> {
    inner: S,
}

impl<S: Service<Request>> Service<Request> for BlockingService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        request.head_mut().is_blocking = true;
        self.inner.call(request)
    }
}
