//! Services that come and go while a server runs.

use std::{
    sync::{Arc, Mutex, mpsc},
    task, thread,
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::Notify;
use tower::{Service, ServiceExt, layer::layer_fn, util::MapRequestLayer};
use wawo::{
    Body, Code, Context, MethodDescriptor, Peer, RawService, Request, ServeError, Server,
    ServiceDescriptor, Shape, Status,
};

use crate::support::{EchoClient, EchoServer, Parrot, client_of, message};

/// A service of one method, which exists only at run time.
fn descriptor(name: &str) -> ServiceDescriptor {
    let say = MethodDescriptor::builder("Say", Shape::Unary);
    ServiceDescriptor::builder(name)
        .method(say)
        .build()
        .unwrap()
}

fn script(name: &str, reply: &'static str) -> impl wawo::Serve {
    let handler = move |_: Context, _: Body| async move {
        Ok(Body::One(Bytes::from_static(reply.as_bytes()).into()))
    };
    RawService::new(descriptor(name), handler)
}

async fn say(peer: &Peer, name: &str) -> Result<String, Status> {
    let descriptor = descriptor(name);
    let request = Request::new(
        descriptor.methods().next().unwrap(),
        Body::One(Bytes::new().into()),
    );
    let mut peer = peer.clone();
    let (_, body) = peer.ready().await?.call(request).await?.into_parts();
    let Body::One(bytes) = body else {
        panic!("a stream");
    };
    Ok(String::from_utf8(bytes.into_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn connections_that_are_there_see_services_come_and_go() {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let handle = server.handle();
    let (early, echo) = (client_of(&mut server).await, client_of(&mut server).await);
    let echo = EchoClient::new(&echo);
    let unknown = say(&early, "scripts.A").await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);

    handle.add_service(script("scripts.A", "one")).unwrap();
    handle.add_service(script("scripts.B", "other")).unwrap();
    let late = client_of(&mut server).await;
    for peer in [&early, &late] {
        assert_eq!(say(peer, "scripts.A").await.unwrap(), "one");
        assert_eq!(say(peer, "scripts.B").await.unwrap(), "other");
    }
    let served = handle.gateway("test").descriptors();
    let served: Vec<_> = served.iter().map(ServiceDescriptor::name).collect();
    assert_eq!(served.len(), 3, "{served:?}");

    assert!(handle.remove_service("scripts.A"));
    assert!(!handle.remove_service("scripts.A"));
    for peer in [&early, &late] {
        let status = say(peer, "scripts.A").await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(say(peer, "scripts.B").await.unwrap(), "other");
    }
    // In its place comes another of the same name.
    handle.add_service(script("scripts.A", "two")).unwrap();
    assert_eq!(say(&early, "scripts.A").await.unwrap(), "two");
    assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
}

#[tokio::test]
async fn layers_know_the_methods_of_services_that_come_after_their_connection() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let of_layer = seen.clone();
    let tell = MapRequestLayer::new(move |request: Request| {
        let method = request.descriptor().map(ToString::to_string);
        of_layer.lock().unwrap().push(method);
        request
    });
    let mut server = Server::builder().layer(tell).build().unwrap();
    let handle = server.handle();
    let early = client_of(&mut server).await;
    say(&early, "scripts.A").await.unwrap_err();
    handle.add_service(script("scripts.A", "one")).unwrap();
    say(&early, "scripts.A").await.unwrap();
    handle.remove_service("scripts.A");
    say(&early, "scripts.A").await.unwrap_err();
    let known = Some("scripts.A/Say".to_owned());
    assert_eq!(*seen.lock().unwrap(), [None, known, None]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_a_server_that_drains_takes_none() {
    let server = Server::builder().add_service(EchoServer::new(Parrot::default()));
    let mut server = server.build().unwrap();
    let handle = server.handle();
    handle.add_service(script("scripts.A", "one")).unwrap();
    let error = handle.add_service(script("scripts.A", "two")).unwrap_err();
    assert!(matches!(error, ServeError::DuplicateService(_)));
    let text = "the service `scripts.A` was added twice; leave one of them out";
    assert!(error.to_string().starts_with(text), "{error}");
    assert_eq!(error.to_string().matches(file!()).count(), 2, "{error}");
    let peer = client_of(&mut server).await;
    assert_eq!(say(&peer, "scripts.A").await.unwrap(), "one");
    handle.drain(Duration::ZERO).await;
    let error = handle
        .add_service(script("scripts.B", "other"))
        .unwrap_err();
    assert!(matches!(error, ServeError::Draining), "{error}");
    let error = handle.add_service(script("scripts.A", "one")).unwrap_err();
    assert!(matches!(error, ServeError::Draining), "{error}");
    assert_eq!(handle.gateway("test").descriptors().len(), 2);
}

#[tokio::test]
async fn calls_in_flight_of_a_service_that_is_removed_go_on_to_their_end() {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, release) = (begun.clone(), release.clone());
        move |_: Context, request: Body| {
            let (begun, release) = (begun.clone(), release.clone());
            async move {
                begun.notify_one();
                release.notified().await;
                Ok(request)
            }
        }
    };
    let mut server = Server::builder().build().unwrap();
    let handle = server.handle();
    let service = RawService::new(descriptor("scripts.A"), handler);
    handle.add_service(service).unwrap();
    let peer = client_of(&mut server).await;
    let call = tokio::spawn({
        let peer = peer.clone();
        async move { say(&peer, "scripts.A").await }
    });
    begun.notified().await;
    assert!(handle.remove_service("scripts.A"));
    let status = say(&peer, "scripts.A").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    release.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "");
}

/// The function that the next clone of a service runs.
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A service that runs a hook when it is cloned.
struct ClonesWith<S>(S, Hook);

impl<S: Clone> Clone for ClonesWith<S> {
    fn clone(&self) -> Self {
        let hook = self.1.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        Self(self.0.clone(), self.1.clone())
    }
}

impl<S: Service<Request>> Service<Request> for ClonesWith<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.call(request)
    }
}

#[test]
fn a_layer_may_change_and_drain_the_server_that_clones_it() {
    let hook = Hook::default();
    let of_layer = hook.clone();
    let layer = layer_fn(move |inner| ClonesWith(inner, of_layer.clone()));
    let server = Server::builder().layer(layer).build().unwrap();
    let handle = server.handle();
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        let gateway = handle.gateway("test");
        let cloned = handle.clone();
        *hook.lock().unwrap() = Some(Box::new(move || {
            cloned.add_service(script("scripts.A", "one")).unwrap();
        }));
        let first = gateway.guest().build().map(drop);
        let served = gateway.descriptors().len();
        *hook.lock().unwrap() = Some(Box::new(move || {
            let _ = handle.drain(Duration::ZERO).now_or_never();
        }));
        let second = gateway.guest().build().map(drop);
        let hooks_ran = hook.lock().unwrap().is_none();
        done.send((first, served, second, hooks_ran)).unwrap();
    });
    let outcome = outcome.recv_timeout(Duration::from_secs(20));
    let (first, served, second, hooks_ran) = outcome.expect("the server waits for itself");
    first.unwrap();
    assert_eq!(served, 1);
    assert!(matches!(second, Err(ServeError::Draining)), "{second:?}");
    assert!(hooks_ran);
}
