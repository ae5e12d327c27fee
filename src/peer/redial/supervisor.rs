//! The task that keeps a peer connected.

use std::{
    error::Error,
    fmt,
    future::{Future, pending},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::time::sleep_until;
use wawo_protocol::{Config, ConnectionError, Side};

use crate::{
    clock,
    connection::{ConnectionHandle, ConnectionState, Owner},
    log_limiter::LogLimiter,
    peer::{
        Peer,
        connect_hook::ConnectHook,
        event::{FailedTry, PeerEvent},
        events::EventSender,
        extensions::PeerExtensions,
        handle::Handle,
        link::Link,
        redial::{attempt::Attempt, dial::Dial, error::TryError, log, random::random},
        redial_link::{Move, Outage, RedialLink},
    },
    reconnect::{Reconnect, Schedule, State},
    serve::{BoxService, inbound::Inbound},
    transport::Address,
};

/// The parts of a peer that reconnects.
#[derive(Debug)]
pub(crate) struct NewRedialPeer<D> {
    pub(crate) address: Address,
    pub(crate) dial: D,
    pub(crate) config: Arc<Config>,
    pub(crate) service: BoxService,
    pub(crate) settings: Reconnect,
    pub(crate) hook: Option<ConnectHook>,
}

impl<D: Dial> NewRedialPeer<D> {
    /// Makes the peer, which is not connected yet, and the task that connects it.
    pub(crate) fn open(self) -> (Peer, Supervisor<D>) {
        let Self {
            address,
            dial,
            config,
            service,
            settings,
            hook,
        } = self;
        let inbound = Inbound::new(service, config.max_call_depth());
        let schedule = Schedule::new(&settings);
        let observers = inbound.observers();
        let observers = observers.map(|observers| (observers.clone(), Side::Connecting));
        let (extensions, events) = (PeerExtensions::default(), EventSender::default());
        let (handle, link) =
            Handle::new_linked(Some(address), extensions, events, observers, |state| {
                let link = RedialLink::new(settings, &config, inbound.names().clone(), state);
                let link = Arc::new(link);
                (Link::Redial(link.clone()), link)
            });
        link.set_outage(Outage::begin(None));
        let attempt = Attempt {
            dial,
            config,
            inbound: Mutex::new(inbound),
            hook,
            link: link.clone(),
            handle: Arc::downgrade(&handle),
        };
        let supervisor = Supervisor {
            attempt: Arc::new(attempt),
            link,
            schedule,
            outage: Outage::begin(None),
            current: None,
            is_draining: false,
            elsewhere: None,
            running: None,
            end: None,
            unusable_addresses: LogLimiter::default(),
        };
        (Peer::of(handle), supervisor)
    }
}

/// The task that keeps a peer connected. Dropping it closes the peer.
pub(crate) struct Supervisor<D: Dial> {
    attempt: Arc<Attempt<D>>,
    link: Arc<RedialLink>,
    schedule: Schedule,
    /// The time without a connection, if there is none.
    outage: Outage,
    /// The connection that carries calls.
    current: Option<Arc<ConnectionHandle>>,
    /// Whether the current connection takes no more calls.
    is_draining: bool,
    /// The address of the next try, if it is not that of the peer.
    elsewhere: Option<Address>,
    /// The try that is under way.
    running: Option<RunningTry<D::Error>>,
    /// Why the peer is over, if it is.
    end: Option<ConnectionError>,
    /// Limits the warnings of addresses to which the peer cannot move.
    unusable_addresses: LogLimiter,
}

type RunningTry<E> = Pin<Box<dyn Future<Output = TryResult<E>> + Send>>;
type TryResult<E> = Result<Arc<ConnectionHandle>, TryError<E>>;

/// The reason for which the task runs on.
enum Wake<E> {
    /// There are orders, or a connection has changed.
    News,
    /// The time of the next try has come.
    Due,
    Tried(TryResult<E>),
}

impl<D: Dial> Supervisor<D> {
    /// Makes the first try, for which the program waits. Dropping the future closes what it has opened.
    ///
    /// # Errors
    ///
    /// If the try fails. The peer is closed then.
    pub(crate) async fn connect(&mut self) -> Result<(), TryError<D::Error>> {
        self.schedule.dial(clock::now());
        let connection = self.attempt.run(None).await?;
        self.connected(connection);
        Ok(())
    }

    /// Keeps the peer connected until it is closed, and all its connections are.
    pub(crate) async fn run(mut self) {
        if self.schedule.state() == State::Idle {
            self.begin_try();
        }
        while self.schedule.state() != State::Over {
            match self.wake().await {
                Wake::News => {}
                Wake::Due => self.begin_try(),
                Wake::Tried(Ok(connection)) => self.connected(connection),
                Wake::Tried(Err(error)) => self.try_failed(error),
            }
            self.look();
        }
        self.finish().await;
    }

    async fn wake(&mut self) -> Wake<D::Error> {
        let Self {
            schedule,
            running,
            link,
            ..
        } = self;
        let due = async {
            match schedule.due() {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let tried = async {
            match running {
                Some(running) => running.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = link.news() => Wake::News,
            result = tried => Wake::Tried(result),
            () = due => Wake::Due,
        }
    }

    fn begin_try(&mut self) {
        self.schedule.dial(clock::now());
        let (attempt, elsewhere) = (self.attempt.clone(), self.elsewhere.clone());
        let running = async move { attempt.run(elsewhere.as_ref()).await };
        self.running = Some(Box::pin(running));
        self.show_outage();
    }

    fn connected(&mut self, connection: Arc<ConnectionHandle>) {
        (self.running, self.elsewhere) = (None, None);
        self.schedule.connected(clock::now());
        let before = self.link.switch_to(&connection);
        match self.current.is_some() {
            true => log::moved(self.link.peer()),
            false => log::connected(self.link.peer(), self.outage.failed),
        }
        (self.current, self.is_draining) = (Some(connection), false);
        if let Some(before) = before {
            before.begin_drain();
        }
    }

    fn try_failed(&mut self, error: TryError<D::Error>) {
        self.running = None;
        let wait = self.schedule.try_failed(clock::now(), random());
        let (peer, number) = (self.link.peer(), self.schedule.failed());
        let elsewhere = self.elsewhere.take();
        let error: Arc<dyn Error + Send + Sync> = Arc::new(error);
        let failed = FailedTry {
            number,
            address: elsewhere.clone().or_else(|| peer.address().cloned()),
            error: error.clone(),
            wait,
        };
        let is_first = self.current.is_none() && self.outage.failed == 0;
        log::try_failed(peer, elsewhere.as_ref(), &failed, is_first);
        peer.send(|peer| PeerEvent::TryFailed(peer, failed));
        if wait.is_none() {
            let text = format!("tries to connect have failed, at last: {error}");
            let error = io::Error::other(format!("{number} {text}"));
            self.end = Some(ConnectionError::Lost(Arc::new(error)));
        }
        (self.outage.failed, self.outage.last) = (number, Some(error));
        self.show_outage();
    }

    /// Acts on orders, and on changes of the current connection.
    fn look(&mut self) {
        let orders = self.link.take_orders();
        if orders.stop {
            self.schedule.close();
            return;
        }
        if orders.dial_now {
            self.schedule.dial_now(clock::now());
        }
        // While a try is under way, it is not known yet which connection will be the current one.
        if !self.schedule.state().is_dialling()
            && let Some(moved) = self.link.take_move()
        {
            self.move_on(&moved);
        }
        let Some(current) = &self.current else {
            return;
        };
        let state = current.state().borrow().clone();
        match state {
            ConnectionState::Closed(error) => self.lost(error),
            ConnectionState::Draining if !self.is_draining => {
                self.is_draining = true;
                self.schedule.drained(clock::now(), random());
                self.link.report_drain();
            }
            _ => {}
        }
    }

    /// Sets the time and the address of the next try, as the other side asks.
    fn move_on(&mut self, moved: &Move) {
        let current = self.current.as_ref().map(Arc::as_ptr);
        if current != Some(moved.from.as_ptr()) {
            return;
        }
        let (relocation, now) = (&moved.relocation, clock::now());
        let (not_before, not_after) = (relocation.not_before(), relocation.not_after());
        self.schedule
            .move_between(now, not_before, not_after, random());
        self.elsewhere = self.move_address(relocation.address());
    }

    /// The address to which the other side sends this one; `None` for the address of the peer.
    fn move_address(&self, text: &str) -> Option<Address> {
        let address: Option<Address> = text.parse().ok();
        let address = address.filter(|address| self.attempt.dial.may_move_to(address));
        if address.is_none() && !text.is_empty() {
            let (peer, text) = (self.link.peer().to_string(), text.to_owned());
            self.unusable_addresses.add(move |count| {
                tracing::warn!(target: "wawo::peer", peer, address = text, count, "cannot move to this address; dials that of the peer");
            });
        }
        address
    }

    fn lost(&mut self, error: ConnectionError) {
        (self.current, self.is_draining) = (None, false);
        let wait = self.schedule.lost(clock::now(), random());
        let peer = self.link.peer();
        log::lost(peer, &error, wait);
        self.outage = Outage::begin(Some(error.clone()));
        self.show_outage();
        if self.schedule.state() == State::Over {
            self.end = Some(error.clone());
        }
        self.link.peer().send(|peer| PeerEvent::Lost(peer, error));
    }

    /// Lets calls that fail say why there is no connection, and when the next try is.
    fn show_outage(&mut self) {
        if !self.schedule.state().is_connected() {
            self.outage.next = self.schedule.due();
            self.link.set_outage(self.outage.clone());
        }
    }

    /// Waits for the end of all connections, and ends the peer.
    async fn finish(&mut self) {
        self.running = None;
        for connection in self.link.open_connections() {
            connection.closed().await;
        }
        let of_current = self
            .current
            .as_ref()
            .and_then(|current| current.why_closed());
        let end = self.end.take().or(of_current);
        self.link.end(&end.unwrap_or(ConnectionError::ClosedHere));
    }
}

impl<D: Dial> Drop for Supervisor<D> {
    /// Ends the peer, when the task was cancelled or its runtime ends.
    fn drop(&mut self) {
        if !self.link.is_closed() {
            self.link.end(&ConnectionError::ClosedHere);
        }
    }
}

impl<D: Dial> fmt::Debug for Supervisor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule = &self.schedule;
        f.debug_struct("Supervisor")
            .field("schedule", schedule)
            .finish_non_exhaustive()
    }
}
