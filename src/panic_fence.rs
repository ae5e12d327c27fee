//! Futures of the application that may panic.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{transport::BoxFuture, unwinding::drop_broken};

/// A future of the application whose panic is its result. A panic of its drop goes no further either.
pub(crate) struct PanicFence<T>(Option<BoxFuture<'static, T>>);

impl<T> PanicFence<T> {
    /// `begin` makes the future, and may panic too.
    ///
    /// # Errors
    ///
    /// The panic of `begin`.
    pub(crate) fn new(
        begin: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Result<Self, Box<dyn Any + Send>> {
        catch_unwind(AssertUnwindSafe(begin)).map(|future| Self(Some(future)))
    }
}

impl<T> Future for PanicFence<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => {
                let broken = self.0.take();
                // The drop of a future that has panicked may panic too.
                let _ = catch_unwind(AssertUnwindSafe(|| drop_broken(|| drop(broken))));
                Poll::Ready(Err(panic))
            }
        }
    }
}

impl<T> Drop for PanicFence<T> {
    fn drop(&mut self) {
        let future = self.0.take();
        // The panic hook has printed it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}

#[cfg(test)]
mod tests {
    use super::PanicFence;

    #[tokio::test]
    async fn a_panic_before_in_or_after_a_future_goes_no_further() {
        struct Bomb;

        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }

        assert!(PanicFence::<()>::new(|| panic!("begun")).is_err());
        let polled = PanicFence::new(|| Box::pin(async { panic!("polled") }));
        let ended: Result<(), _> = polled.unwrap().await;
        assert_eq!(crate::panic::text(&*ended.unwrap_err()), "polled");
        let never = PanicFence::new(|| {
            let bomb = Bomb;
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(bomb);
            })
        });
        drop(never);
        let fine = PanicFence::new(|| Box::pin(async { 7 }));
        assert_eq!(fine.unwrap().await.unwrap(), 7);
    }
}
