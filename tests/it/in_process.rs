//! The same stub over a service in the same process.

use std::{sync::atomic::Ordering, time::Duration};

use futures::StreamExt;
use wawo::{
    Body, Code, Delivery, InProcess, MessageBytes, MethodDescriptor, MethodId, Prost, Request,
    ServiceDescriptor, ServiceId, Shape, codegen,
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
