//! The same stub over a service in the same process.

use std::{
    future::IntoFuture,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    task, thread,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use tower::{Service, layer::layer_fn};
use wawo::{
    Body, Channel, Code, Delivery, InProcess, MessageBytes, MethodDescriptor, MethodId, Prost,
    Request, ServiceDescriptor, ServiceId, Shape, codegen,
};

use crate::support::{EchoClient, EchoServer, Message, Parrot, RepeatRequest, message};

/// A service with a method that has the id of `Say`.
fn other_service() -> ServiceDescriptor {
    let say = MethodDescriptor::builder("Say", Shape::Unary).id(MethodId(1));
    let other = ServiceDescriptor::builder("tests.other.Other").id(ServiceId(99));
    other.method(say).build().unwrap()
}

#[tokio::test]
async fn a_call_of_another_service_does_not_reach_the_one_that_is_there() {
    let (_, parrot) = echo();
    let in_process = InProcess::new(EchoServer::new(parrot.clone()));
    let other = other_service();
    let say = other.method_by_name("Say").unwrap();
    let start = codegen::start(&in_process, &other);
    let call: wawo::Call<Message> = codegen::call(&start, say.clone(), Prost, message("fail"));
    let status = call.await.unwrap_err();
    assert_eq!(
        status.to_string(),
        "tests.other.Other/Say in this process: Unimplemented: `tests.other.Other` is not served \
         there; served: tests.echo.Echo"
    );
    assert_eq!(status.delivery(), Delivery::NotSent);
    for one_way in [false, true] {
        let body = Body::One(MessageBytes::default());
        let request = Request::by_id(ServiceId(99), MethodId(3), one_way, body);
        let status = wawo::CallTarget::handle(&in_process)
            .start(request)
            .await
            .unwrap_err();
        let text = "no service with id 99 is served by the callee; served: tests.echo.Echo";
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, text)
        );
    }
    assert_eq!(parrot.0.notes.load(Ordering::SeqCst), 0);
}

fn echo() -> (EchoClient, Parrot) {
    let parrot = Parrot::default();
    let server = EchoServer::new(parrot.clone());
    (EchoClient::new(&InProcess::new(server)), parrot)
}

#[tokio::test]
async fn every_shape_of_call_works_in_process() {
    let (echo, parrot) = echo();
    assert_eq!(echo.say(message("a")).await.unwrap().data, "a");
    echo.note(message("a")).await.unwrap();
    parrot
        .0
        .until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
    let request = RepeatRequest {
        data: "a".into(),
        times: 3,
    };
    assert_eq!(echo.repeat(request).await.unwrap().count().await, 3);
    let three = || futures::stream::iter(["a", "b", "c"].map(message));
    assert_eq!(echo.join(three()).await.unwrap().data, "abc");
    assert_eq!(echo.talk(three()).await.unwrap().count().await, 3);
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_panics_are_as_over_a_connection() {
    let (echo, parrot) = echo();
    let call = echo.act(message("wait")).timeout(Duration::from_secs(1));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(parrot.0.dropped.load(Ordering::SeqCst), 1);
    let status = echo.act(message("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    // There is no peer to call back.
    let status = echo.act(message("call back")).await.unwrap_err();
    // The call was another one than that which ends so.
    assert_eq!(status.code(), Code::Internal);
    let text = "a call in the same process has no peer that could be called back";
    assert!(status.to_string().ends_with(text), "{status}");
}

/// The function that the first call of a service runs before it goes on.
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A service whose first call runs a hook.
#[derive(Clone)]
struct Hooked<S>(S, Hook);

impl<S: Service<Request>> Service<Request> for Hooked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        let hook = self.1.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.0.call(request)
    }
}

/// A call that ends in its first poll.
fn say_at_once(echo: &EchoClient) -> bytes::Bytes {
    let call = echo.say(message("a")).into_future();
    call.now_or_never().unwrap().unwrap().data
}

/// While a call begins, it waits for calls of its own thread and of another one.
fn check_calls_while_one_begins(echo: EchoClient, hook: &Hook) {
    let inner = echo.clone();
    *hook.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(say_at_once(&inner), "a");
        let other = thread::spawn(move || say_at_once(&inner));
        assert_eq!(other.join().unwrap(), "a");
    }));
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(say_at_once(&echo)));
    let outcome = outcome.recv_timeout(Duration::from_secs(20));
    assert_eq!(outcome.expect("a call waits for another to begin"), "a");
}

#[test]
fn a_call_in_process_does_not_wait_for_another_to_begin() {
    let hook = Hook::default();
    let of_layer = hook.clone();
    let layer = layer_fn(move |inner| Hooked(inner, of_layer.clone()));
    let server = EchoServer::new(Parrot::default()).layer(layer);
    check_calls_while_one_begins(EchoClient::new(&InProcess::new(server)), &hook);
}

#[test]
fn a_call_over_a_channel_does_not_wait_for_another_to_begin() {
    let hook = Hook::default();
    let service = Hooked(EchoServer::new(Parrot::default()), hook.clone());
    check_calls_while_one_begins(EchoClient::new(&Channel::new(service)), &hook);
}
