//! More services on the server. They are one service under many ids, because services are looked up
//! by id, not by name.

use std::task;

use bytes::Bytes;
use cpu_time::ProcessTime;
use wawo::{
    CallTarget, Idempotency, MethodDescriptor, Peer, Prost, Request, Response, ResponseFuture,
    Result, Serve, Server, ServerBuilder, ServiceDescriptor, Shape, Status, codegen,
};

use crate::{
    curve::Curve,
    echo::{EchoServer, Message, method::SAY},
    load::{BYTES, IN_FLIGHT, Load, Pace},
    table::Table,
    world::{Parrot, connect, one_thread, over_memory},
};

const SERVICES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// The number of connections whose cost is measured.
const CONNECTIONS: u32 = 10;

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("services", &["CPU us a new connection"]);
    let methods: Vec<_> = (1..=SERVICES[4]).map(|id| say(id as u32)).collect();
    let methods: &'static [_] = methods.leak();
    for services in SERVICES {
        let methods = &methods[..services];
        let (cost, connecting) = one_thread().block_on(async {
            let (peer, mut server) = over_memory(serving(methods)).await;
            let cost = load(&peer, methods).measure(pace).await;
            let before = ProcessTime::now();
            for _ in 0..CONNECTIONS {
                connect(&mut server).await;
            }
            (cost, before.elapsed() / CONNECTIONS)
        });
        curve.push_with(services, cost, vec![format!("{}", connecting.as_micros())]);
    }
    curve.per_call()
}

fn serving(methods: &[&'static MethodDescriptor]) -> ServerBuilder {
    let add = |server: ServerBuilder, &method| server.add_service(Numbered::new(method));
    methods.iter().fold(Server::builder(), add)
}

/// Callers that cycle through all services, each from a different start.
fn load(peer: &Peer, methods: &'static [&'static MethodDescriptor]) -> Load {
    let mut load = Load::default();
    let data = Bytes::from(vec![7; BYTES]);
    for caller in 0..IN_FLIGHT {
        let (peer, data) = (peer.handle(), data.clone());
        let from = caller * methods.len() / IN_FLIGHT;
        let mut methods = methods.iter().cycle().skip(from);
        load.add(move || {
            let method = methods.next().expect("a cycle has no end");
            codegen::call(&peer, method, Prost, Message { data: data.clone() })
        });
    }
    load
}

/// The method `Say` of the service with this id. Descriptors are `'static`, so it is never freed.
fn say(service: u32) -> &'static MethodDescriptor {
    let (shape, idempotency) = (Shape::Unary, Idempotency::Unknown);
    let path = format!("growth.Echo{service}/Say").leak();
    let method = MethodDescriptor::new(path, service, SAY.id().0, shape, idempotency);
    Box::leak(Box::new(method))
}

/// An echo service under its own id.
#[derive(Debug, Clone)]
struct Numbered {
    inner: EchoServer<Parrot>,
    descriptor: &'static ServiceDescriptor,
}

impl Numbered {
    fn new(method: &'static MethodDescriptor) -> Self {
        let methods = Box::leak(Box::new([method]));
        let name = method.path().trim_end_matches("/Say");
        let descriptor = ServiceDescriptor::new(name, method.service().0, 0, methods);
        Self {
            inner: EchoServer::new(Parrot),
            descriptor: Box::leak(Box::new(descriptor)),
        }
    }
}

impl tower::Service<Request> for Numbered {
    type Response = Response;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        self.inner.call(request)
    }
}

impl Serve for Numbered {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.descriptor
    }
}
