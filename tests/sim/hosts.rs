//! The server, the clients, and the links between them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};
#[cfg(feature = "tls")]
use wawo::transport::TransportWithFacts;
use wawo::{ConnectError, Peer, Server, Transport};

#[cfg(feature = "tls")]
use crate::tls::{ClientSide, ServerSide};

use crate::{
    client,
    echo::EchoServer,
    history::{CallEvent, Event, LinkEvent, Struck},
    link::{End, Link},
    plan::{Caller, Fault, Side},
    random::Random,
    server::Handlers,
    world::World,
};

/// All hosts of a simulation.
#[derive(Debug)]
pub(crate) struct Hosts {
    world: Arc<World>,
    /// `None` while it is down.
    server: Mutex<Option<Running>>,
    #[cfg(feature = "tls")]
    tls: ClientSide,
    clients: Vec<Client>,
    links: Mutex<Links>,
}

/// The server between its start and its end.
#[derive(Debug)]
struct Running {
    server: Server,
    #[cfg(feature = "tls")]
    tls: ServerSide,
}

/// A client, which lasts as long as the simulation, over all its connections.
#[derive(Debug, Default)]
struct Client {
    /// The server, as the client sees it.
    to_server: Place,
    /// The client, as the server sees it.
    to_client: Place,
}

/// The place where callers wait for a connection. Waiting callers continue in the order in which
/// they came, which tokio's watch channel does not guarantee.
#[derive(Debug, Default)]
struct Place {
    connected: Mutex<Option<Connected>>,
    changed: Notify,
}

#[derive(Debug, Clone)]
struct Connected {
    link: u32,
    peer: Peer,
}

#[derive(Debug)]
struct Links {
    random: Random,
    next: u32,
    /// The current link of each client.
    current: Vec<Option<Arc<Link>>>,
}

/// The pause of a client before it connects again.
const RECONNECT: Duration = Duration::from_millis(100);

/// The time for which a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

impl Place {
    fn put(&self, connected: Connected) {
        *self.lock() = Some(connected);
        self.changed.notify_waiters();
    }

    /// Removes the connection over this link, if it is the current one.
    fn forget(&self, link: u32) {
        self.lock().take_if(|connected| connected.link == link);
    }

    async fn connected(&self) -> Connected {
        loop {
            let changed = self.changed.notified();
            if let Some(connected) = self.lock().clone() {
                return connected;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connected>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        let plan = &world.plan;
        let hosts = Self {
            world: world.clone(),
            server: Mutex::new(None),
            #[cfg(feature = "tls")]
            tls: ClientSide::new(),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            links: Mutex::new(Links {
                random: plan.random.clone(),
                next: 0,
                current: vec![None; plan.clients],
            }),
        };
        hosts.start_server();
        Arc::new(hosts)
    }

    /// Keeps a client connected.
    pub(crate) async fn run_client(self: Arc<Self>, client: usize) {
        loop {
            let to_server = &self.clients[client].to_server;
            if let Some(connected) = self.connect(client).await {
                to_server.put(connected.clone());
                let why = connected.peer.closed().await.to_string();
                self.over(connected.link, Side::Client, why);
                to_server.forget(connected.link);
            }
            sleep(RECONNECT).await;
        }
    }

    /// Makes a call at its time, if its caller has a connection then or soon after.
    pub(crate) async fn make_call(self: Arc<Self>, number: u32) {
        let (at, connected) = match self.world.call(number).caller {
            Caller::Client { client, at } => (at, &self.clients[client].to_server),
            Caller::Server { client, at } => (at, &self.clients[client].to_client),
            // The handler, or the caller, of that call makes it.
            Caller::Handler(_) | Caller::Replaces(_) => return,
        };
        sleep(at).await;
        client::give_way(self.world.call(number).turns).await;
        match timeout(PATIENCE, connected.connected()).await {
            Ok(Connected { link, peer }) => {
                client::make(self.world.clone(), number, link, peer).await;
            }
            Err(_) => self.world.history.call(number, CallEvent::NotMade),
        }
    }

    /// Triggers all planned faults.
    pub(crate) async fn run_faults(self: Arc<Self>) {
        let began = tokio::time::Instant::now();
        for planned in &self.world.plan.faults {
            sleep_until(began + planned.at).await;
            match planned.fault {
                Fault::Cut { client, .. }
                | Fault::HalfOpen { client, .. }
                | Fault::Corrupt { client, .. }
                | Fault::Stall { client, .. } => self.strike(client, &planned.fault),
                Fault::Close { client, by } => self.close(client, by),
                Fault::Restart { down } => {
                    self.stop_server();
                    let hosts = self.clone();
                    tokio::spawn(async move {
                        sleep(down).await;
                        hosts.start_server();
                    });
                }
            }
        }
    }

    /// Ends the server and its connections.
    pub(crate) fn stop_server(&self) {
        self.world.history.add(Event::ServerDown);
        let links = self.links();
        for link in links.current.iter().flatten() {
            let event = LinkEvent::Struck(Struck::ServerDown);
            self.world.history.link(link.number, event);
        }
        drop(links);
        drop(self.server().take());
    }

    /// Drops all peers that are kept.
    pub(crate) fn forget_peers(&self) {
        for client in &self.clients {
            *client.to_server.lock() = None;
            *client.to_client.lock() = None;
        }
    }

    fn start_server(&self) {
        let mut server = self.server();
        if server.is_none() {
            self.world.history.add(Event::ServerUp);
            let handlers = EchoServer::new(Handlers(self.world.clone()));
            let config = self.world.plan.limits.config();
            let built = Server::builder()
                .config(config)
                .metrics(&self.world.metrics)
                .add_service(handlers)
                .build();
            *server = Some(Running {
                server: built.expect("the configuration is valid"),
                #[cfg(feature = "tls")]
                tls: ServerSide::new(),
            });
        }
    }

    fn strike(&self, client: usize, fault: &Fault) {
        let Some(link) = self.links().current[client].clone() else {
            return;
        };
        if matches!(fault, Fault::Corrupt { .. }) && !link.is_tls {
            return;
        }
        let event = LinkEvent::Struck(fault.into());
        self.world.history.link(link.number, event);
        link.strike(fault);
    }

    fn close(&self, client: usize, by: Side) {
        let place = match by {
            Side::Client => &self.clients[client].to_server,
            Side::Server => &self.clients[client].to_client,
        };
        if let Some(Connected { link, peer }) = &*place.lock() {
            let event = LinkEvent::Struck(Struck::Closed);
            self.world.history.link(*link, event);
            peer.close("as planned");
        }
    }

    async fn connect(self: &Arc<Self>, client: usize) -> Option<Connected> {
        let (link, here) = self.open(client)?;
        let peer = match link.is_tls {
            #[cfg(feature = "tls")]
            true => match self.tls.connect(here, self.handshake_timeout()).await {
                Ok(here) => self.connect_over(here).await,
                Err(why) => Err(why),
            },
            _ => self.connect_over(here).await,
        };
        let link = link.number;
        match peer {
            Ok(peer) => Some(Connected { link, peer }),
            Err(why) => {
                self.over(link, Side::Client, why);
                None
            }
        }
    }

    async fn connect_over(&self, transport: impl Transport) -> Result<Peer, String> {
        let handlers = EchoServer::new(Handlers(self.world.clone()));
        let builder = Peer::builder("").config(self.world.plan.limits.config());
        let builder = builder.metrics(&self.world.metrics).add_service(handlers);
        let connecting = builder.connect_over(transport);
        connecting.await.map_err(|error| match &error {
            ConnectError::Hello { source, .. } => source.to_string(),
            other => other.to_string(),
        })
    }

    /// Opens a link to the server, if it is up; returns it and the client's end.
    fn open(self: &Arc<Self>, client: usize) -> Option<(Arc<Link>, End)> {
        let mut running = self.server();
        let running = running.as_mut()?;
        let (link, here, there) = self.links().open(client, &self.world);
        let (number, is_tls) = (link.number, link.is_tls);
        self.world
            .history
            .link(number, LinkEvent::Opened { client, is_tls });
        match is_tls {
            #[cfg(feature = "tls")]
            true => {
                let accepting = running.tls.accept(there, self.handshake_timeout());
                tokio::spawn(self.clone().accept_tls(client, number, accepting));
            }
            _ => self.accept_over(running, client, number, there),
        }
        Some((link, here))
    }

    #[cfg(feature = "tls")]
    async fn accept_tls(
        self: Arc<Self>,
        client: usize,
        link: u32,
        accepting: impl Future<Output = Result<TransportWithFacts, String>>,
    ) {
        match accepting.await {
            Ok(there) => {
                let mut running = self.server();
                let running = running.as_mut().expect("accepting ends with the server");
                self.accept_over(running, client, link, there);
            }
            Err(why) => self.over(link, Side::Server, why),
        }
    }

    fn accept_over(
        self: &Arc<Self>,
        running: &mut Running,
        client: usize,
        link: u32,
        transport: impl Transport,
    ) {
        let peer = running.server.accept_over(transport);
        let peer = peer.expect("the server does not drain");
        tokio::spawn(self.clone().watch_client(client, Connected { link, peer }));
    }

    /// The time for each handshake: first that of TLS, then the hello.
    #[cfg(feature = "tls")]
    fn handshake_timeout(&self) -> Duration {
        self.world.plan.limits.config().handshake_timeout()
    }

    /// Lets the server call a client, until the connection is over.
    async fn watch_client(self: Arc<Self>, client: usize, connected: Connected) {
        let Connected { link, peer } = connected.clone();
        let to_client = &self.clients[client].to_client;
        to_client.put(connected);
        let why = peer.closed().await.to_string();
        self.over(link, Side::Server, why);
        to_client.forget(link);
    }

    fn over(&self, link: u32, side: Side, why: String) {
        self.world.history.link(link, LinkEvent::Over { side, why });
    }

    fn server(&self) -> MutexGuard<'_, Option<Running>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    fn open(&mut self, client: usize, world: &World) -> (Arc<Link>, End, End) {
        let number = self.next;
        self.next += 1;
        let mut random = self.random.fork();
        // Without the feature, the draws are the same.
        let is_tls = random.percent(world.plan.tls_percent) && cfg!(feature = "tls");
        let (link, here, there) =
            Link::new(number, is_tls, world.plan.links, random, &world.history);
        let link = Arc::new(link);
        self.current[client] = Some(link.clone());
        (link, here, there)
    }
}
