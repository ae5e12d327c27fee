//! Writers that remember, wait or fail.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, mpsc},
};

/// A writer that remembers all.
#[derive(Clone, Default)]
pub(super) struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines, each of which has an end.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer whose drop is noticed.
pub(super) struct Watched<W> {
    writer: W,
    /// Dropped with the writer.
    _sender: mpsc::Sender<()>,
}

/// Watches a writer; the function returned waits until it is dropped.
pub(super) fn watched<W: io::Write>(writer: W) -> (Watched<W>, impl FnOnce()) {
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        receiver.recv().unwrap_err();
    };
    let watched = Watched {
        writer,
        _sender: sender,
    };
    (watched, wait)
}

impl<W: io::Write> io::Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A writer that waits in `write` while it is closed.
#[derive(Clone, Default)]
pub(super) struct Gate {
    pub(super) page: Page,
    state: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Default)]
struct GateState {
    is_open: bool,
    waits: bool,
}

impl Gate {
    pub(super) fn open(&self) {
        self.state.0.lock().unwrap().is_open = true;
        self.state.1.notify_all();
    }

    /// Waits until the thread of the log is in `write`.
    pub(super) fn wait_for_write(&self) {
        let state = self.state.0.lock().unwrap();
        let waited = self.state.1.wait_while(state, |state| !state.waits);
        drop(waited.unwrap());
    }
}

impl io::Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.0.lock().unwrap();
        state.waits = true;
        self.state.1.notify_all();
        drop(self.state.1.wait_while(state, |state| !state.is_open));
        self.page.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The outcome of a write.
pub(super) enum Outcome {
    /// At most this many bytes are taken.
    Takes(usize),
    Fails(io::ErrorKind),
    Panics,
}

/// A writer that does as it is told, and then takes all.
#[derive(Clone, Default)]
pub(super) struct Script {
    pub(super) page: Page,
    outcomes: Arc<Mutex<VecDeque<Outcome>>>,
}

impl Script {
    pub(super) fn add(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.outcomes.lock().unwrap().extend(outcomes);
    }
}

impl io::Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.outcomes.lock().unwrap().pop_front();
        match outcome {
            None => self.page.write(bytes),
            Some(Outcome::Takes(most)) => self.page.write(&bytes[..most.min(bytes.len())]),
            Some(Outcome::Fails(kind)) => Err(kind.into()),
            Some(Outcome::Panics) => panic!("as the test asked"),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
