//! A configuration that is made anew when its files have changed. The last good one stays in use.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::{sync, task::spawn_blocking};

use crate::{clock, transport::tls::TlsError};

/// A number that stands for the contents of files, to find out whether they have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

/// The fingerprint of some texts. The hash has a key of this process, so that nobody can make another text
/// with the same one on purpose.
pub(super) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let texts: Vec<&[u8]> = texts.into_iter().collect();
    Fingerprint(KEY.hash_one(texts))
}

/// Makes a configuration from files.
pub(super) trait Load: fmt::Debug + Send + Sync + 'static {
    type Config: Send + Sync + 'static;

    /// The side that has the files, for the log.
    const SIDE: &'static str;

    /// Reads the files, and makes the configuration of them. `before` is the one in use, whose parts stay in
    /// use as far as their files have not changed.
    fn load(
        &self,
        before: Option<&LiveConfig<Self::Config>>,
    ) -> Result<LiveConfig<Self::Config>, TlsError>;
}

/// A configuration, and the files that it was made from.
pub(super) struct LiveConfig<C> {
    pub(super) config: Arc<C>,
    /// That of this side's certificate and key.
    pub(super) certificate: Option<Fingerprint>,
    /// That of roots and revocation lists.
    pub(super) trust: Option<Fingerprint>,
}

impl<C> Clone for LiveConfig<C> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            ..*self
        }
    }
}

/// The configuration in use, and how to make it anew.
pub(super) struct Live<L: Load> {
    /// `None` for a configuration that the program has made itself.
    load: Option<L>,
    current: Mutex<LiveConfig<L::Config>>,
    /// Held while files are read: of two at once, the one with the older files could end last.
    reading: Mutex<()>,
    /// When the last whole [`refresh`](Self::refresh) began. Held until its reading ends, also if its caller
    /// has left, so that those who wait for it take no threads.
    refreshed: Arc<sync::Mutex<Option<Instant>>>,
}

impl<L: Load> Live<L> {
    pub(super) fn new(load: L) -> Result<Self, TlsError> {
        let current = load.load(None)?;
        Ok(Self::with(Some(load), current))
    }

    /// A configuration that stays as it is.
    pub(super) fn fixed(config: Arc<L::Config>) -> Self {
        let current = LiveConfig {
            config,
            certificate: None,
            trust: None,
        };
        Self::with(None, current)
    }

    fn with(load: Option<L>, current: LiveConfig<L::Config>) -> Self {
        Self {
            load,
            current: Mutex::new(current),
            reading: Mutex::default(),
            refreshed: Arc::default(),
        }
    }

    pub(super) fn settings(&self) -> Option<&L> {
        self.load.as_ref()
    }

    pub(super) fn current(&self) -> Arc<L::Config> {
        self.lock().config.clone()
    }

    /// Reads the files, and uses their contents from now on. Returns `false` if they have not changed. The
    /// configuration stays as it is if there is an error. Both outcomes are logged.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let Some(load) = &self.load else {
            return Ok(false);
        };
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.lock().clone();
        let loaded = load.load(Some(&before)).inspect_err(|error| {
            let side = L::SIDE;
            tracing::warn!(target: "wawo::tls", side, %error, "the files of TLS cannot be used; those before stay in use");
        })?;
        if Arc::ptr_eq(&loaded.config, &before.config) {
            return Ok(false);
        }
        *self.lock() = loaded;
        tracing::info!(target: "wawo::tls", side = L::SIDE, "new files of TLS are in use");
        Ok(true)
    }

    /// The same, away from the threads of the runtime. Errors are in the log. Many at once share one reading,
    /// if that has begun after they were called.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let called = clock::now();
        let mut refreshed = self.refreshed.clone().lock_owned().await;
        if refreshed.is_some_and(|began| called < began) {
            return;
        }
        let (live, began) = (self.clone(), clock::now());
        // It fails only with the runtime, or if reading panicked.
        let _ = spawn_blocking(move || {
            drop(live.reload());
            *refreshed = Some(began);
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, LiveConfig<L::Config>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicU64, Ordering},
            mpsc::{Receiver, Sender, channel},
        },
        thread,
        time::Duration,
    };

    use super::{Live, LiveConfig, Load, TlsError};

    /// A file whose content is a number. Each reading reports itself, and then waits for a time for the next.
    #[derive(Debug, Default)]
    struct File {
        content: AtomicU64,
        readings: AtomicU64,
        next: Option<(Sender<()>, Mutex<Receiver<()>>)>,
    }

    impl Load for Arc<File> {
        type Config = u64;

        const SIDE: &'static str = "test";

        fn load(&self, before: Option<&LiveConfig<u64>>) -> Result<LiveConfig<u64>, TlsError> {
            let content = self.content.load(Ordering::SeqCst);
            self.readings.fetch_add(1, Ordering::SeqCst);
            if let Some((began, next)) = &self.next
                && before.is_some()
            {
                began.send(()).unwrap();
                // The lock is taken only by the first: the second one must not wait for a third.
                if let Ok(next) = next.try_lock() {
                    let _ = next.recv_timeout(Duration::from_millis(200));
                }
            }
            Ok(LiveConfig {
                config: Arc::new(content),
                certificate: None,
                trust: None,
            })
        }
    }

    #[test]
    fn the_newest_files_win_when_two_reload_at_once() {
        let ((began, begins), (second_ended, next)) = (channel(), channel());
        let file = Arc::new(File {
            next: Some((began, Mutex::new(next))),
            ..File::default()
        });
        let live = Arc::new(Live::new(file.clone()).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| live.reload().unwrap());
            begins.recv().unwrap();
            file.content.store(7, Ordering::SeqCst);
            scope.spawn(|| {
                live.reload().unwrap();
                // The first may be over by now.
                let _ = second_ended.send(());
            });
        });
        assert_eq!(*live.current(), 7);
    }

    /// A dial that is given up leaves its reading behind; the next ones add none.
    #[test]
    fn a_reading_that_hangs_takes_one_thread() {
        let (began, begins) = channel();
        let (end, next) = channel();
        let file = Arc::new(Stuck(began, Mutex::new(next)));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(2).build().unwrap();
        runtime.block_on(async {
            let live = Arc::new(Live::new(file).unwrap());
            for _ in 0..3 {
                let mut refresh = Box::pin(live.refresh());
                assert!(futures::poll!(refresh.as_mut()).is_pending());
            }
            begins.recv().unwrap();
            let (sender, other) = channel();
            tokio::task::spawn_blocking(move || sender.send(()).unwrap());
            let is_free = other.recv_timeout(Duration::from_secs(20)).is_ok();
            end.send(()).unwrap();
            assert!(is_free, "all threads wait for the file");
        });
    }

    /// A file whose second reading waits.
    #[derive(Debug)]
    struct Stuck(Sender<()>, Mutex<Receiver<()>>);

    impl Load for Arc<Stuck> {
        type Config = u64;

        const SIDE: &'static str = "test";

        fn load(&self, before: Option<&LiveConfig<u64>>) -> Result<LiveConfig<u64>, TlsError> {
            if before.is_some() {
                let _ = self.0.send(());
                let _ = self.1.lock().unwrap().recv();
            }
            Ok(LiveConfig {
                config: Arc::new(0),
                certificate: None,
                trust: None,
            })
        }
    }

    #[tokio::test]
    async fn many_who_refresh_at_once_share_a_reading() {
        let file = Arc::<File>::default();
        let live = Arc::new(Live::new(file.clone()).unwrap());
        // As few as are all polled once before one of them is polled again.
        let refreshing = (0..20).map(|_| live.refresh());
        futures::future::join_all(refreshing).await;
        // One at the build, the first, and one for those who came while that one was under way.
        assert_eq!(file.readings.load(Ordering::SeqCst), 3);
    }
}
