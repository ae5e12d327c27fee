//! More services on the server. They are one service under many ids, because services are looked up
//! by id, not by name.

use std::{sync::Arc, task};

use bytes::Bytes;
use cpu_time::ProcessTime;
use wawo::{
    CallTarget, MethodDescriptor, Peer, Prost, Request, Response, ResponseFuture, Result, Serve,
    Server, ServerBuilder, ServiceDescriptor, ServiceId, Shape, Status, codegen,
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
    let all: Vec<_> = (1..=SERVICES[4]).map(|id| echo(id as u32)).collect();
    for services in SERVICES {
        let few = &all[..services];
        let (cost, connecting) = one_thread().block_on(async {
            let (peer, mut server) = over_memory(serving(few)).await;
            let cost = load(&peer, few).measure(pace).await;
            let before = ProcessTime::now();
            for _ in 0..CONNECTIONS {
                let _ = connect(&mut server).await;
            }
            (cost, before.elapsed() / CONNECTIONS)
        });
        curve.push_with(services, cost, vec![format!("{}", connecting.as_micros())]);
    }
    curve.per_call()
}

fn serving(services: &[ServiceDescriptor]) -> ServerBuilder {
    let add = |server: ServerBuilder, service| server.add_service(Numbered::new(service));
    services.iter().fold(Server::builder(), add)
}

/// Callers that cycle through all services, each from a different start.
fn load(peer: &Peer, services: &[ServiceDescriptor]) -> Load {
    let mut load = Load::default();
    let data = Bytes::from(vec![7; BYTES]);
    let methods: Arc<[_]> = services
        .iter()
        .flat_map(ServiceDescriptor::methods)
        .cloned()
        .map(codegen::MethodRef::from)
        .collect();
    for caller in 0..IN_FLIGHT {
        let (peer, data, methods) = (peer.handle(), data.clone(), methods.clone());
        let mut next = caller * methods.len() / IN_FLIGHT;
        load.add(move || {
            let method: &codegen::MethodRef = &methods[next];
            next = (next + 1) % methods.len();
            codegen::call(&peer, method.clone(), Prost, Message { data: data.clone() })
        });
    }
    load
}

/// An echo service under its own id.
fn echo(id: u32) -> ServiceDescriptor {
    let say = MethodDescriptor::builder("Say", Shape::Unary).id(SAY.id());
    let echo = ServiceDescriptor::builder(format!("growth.Echo{id}")).id(ServiceId(id));
    echo.method(say).build().expect("a service with one method")
}

/// Serves an echo service under its own id.
#[derive(Debug, Clone)]
struct Numbered {
    inner: EchoServer<Parrot>,
    descriptor: ServiceDescriptor,
}

impl Numbered {
    fn new(descriptor: &ServiceDescriptor) -> Self {
        Self {
            inner: EchoServer::new(Parrot),
            descriptor: descriptor.clone(),
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
    fn descriptor(&self) -> &ServiceDescriptor {
        &self.descriptor
    }
}
