//! The signals by which the system asks a process to end.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use crate::server::log;

/// Resolves when the process is asked to end.
///
/// | system | by |
/// |---|---|
/// | Unix | Ctrl-C (`SIGINT`), `SIGTERM` |
/// | Windows | Ctrl-C, Ctrl-Break, the end of the console window, log-off, the shutdown of the system |
///
/// ```no_run
/// # async fn serve(chat: impl wawo::Serve) -> Result<(), wawo::ServeError> {
/// let server = wawo::Server::builder().add_service(chat);
/// let report = server.serve_until("tcp://127.0.0.1:4000", wawo::shutdown_signal()).await?;
/// # Ok(())
/// # }
/// ```
///
/// After it was first awaited, these signals no longer end the process: later ones do nothing, and
/// `drain_grace` limits a drain.
///
/// Windows has limits of its own. It ends a process about 5 s after its console window was closed, its
/// user logged off or the system began to shut down, however long the `drain_grace`: a server that ends so
/// needs one of 4 s or less. A program that uses windows gets no signal at log-off and shutdown, and a
/// Windows service is asked to end by the service manager; give `run_until` a future of your own there.
///
/// # Panics
///
/// On Unix, outside of a tokio runtime, or in one without I/O.
///
/// # Cancel safety
///
/// If the future is dropped, a signal that comes before the next one is awaited may be missed.
pub async fn shutdown_signal() {
    #[cfg(windows)]
    keep_receivers();
    let mut receivers = receivers();
    let signal = poll_fn(|cx| {
        let mut received = receivers.iter_mut();
        let received = received.find_map(|(signal, poll)| poll(cx).is_ready().then_some(*signal));
        received.map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    log::asked_to_end(signal);
}

/// Polls for the next signal of one kind.
type Receiver = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<()>> + Send>;

/// A receiver for each kind of signal that this process can listen for, with the name of the signal.
fn receivers() -> Vec<(&'static str, Receiver)> {
    let received = system::receivers().into_iter();
    let usable = received.filter_map(|(signal, receiver)| match receiver {
        Ok(receiver) => Some((signal, receiver)),
        Err(error) => {
            tracing::warn!(target: "wawo::server", signal, %error, "cannot listen for a signal to end");
            None
        }
    });
    usable.collect()
}

/// Keeps a receiver of each kind until the process ends. A signal without a receiver ends the process,
/// such as a second Ctrl-C during a drain. On Unix, tokio's handlers stay without that.
#[cfg(windows)]
fn keep_receivers() {
    use std::sync::{Mutex, OnceLock};

    static KEPT: OnceLock<Mutex<Vec<(&str, Receiver)>>> = OnceLock::new();
    KEPT.get_or_init(|| Mutex::new(receivers()));
}

#[cfg(unix)]
mod system {
    use std::io;

    use tokio::signal::unix::{SignalKind, signal};

    use super::Receiver;

    pub(super) fn receivers() -> [(&'static str, io::Result<Receiver>); 2] {
        [
            ("Ctrl-C", receiver(SignalKind::interrupt())),
            ("SIGTERM", receiver(SignalKind::terminate())),
        ]
    }

    fn receiver(kind: SignalKind) -> io::Result<Receiver> {
        let mut signal = signal(kind)?;
        Ok(Box::new(move |cx| signal.poll_recv(cx)))
    }
}

#[cfg(windows)]
mod system {
    use std::{
        io,
        task::{Context, Poll},
    };

    use tokio::signal::windows::{
        CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
        ctrl_logoff, ctrl_shutdown,
    };

    use super::Receiver;

    pub(super) fn receivers() -> [(&'static str, io::Result<Receiver>); 5] {
        [
            ("Ctrl-C", receiver(ctrl_c(), CtrlC::poll_recv)),
            ("Ctrl-Break", receiver(ctrl_break(), CtrlBreak::poll_recv)),
            (
                "the end of the console",
                receiver(ctrl_close(), CtrlClose::poll_recv),
            ),
            ("log-off", receiver(ctrl_logoff(), CtrlLogoff::poll_recv)),
            (
                "the shutdown of the system",
                receiver(ctrl_shutdown(), CtrlShutdown::poll_recv),
            ),
        ]
    }

    fn receiver<S: Send + 'static>(
        signal: io::Result<S>,
        poll: fn(&mut S, &mut Context<'_>) -> Poll<Option<()>>,
    ) -> io::Result<Receiver> {
        let mut signal = signal?;
        Ok(Box::new(move |cx| poll(&mut signal, cx)))
    }
}
