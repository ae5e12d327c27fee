//! The same stub over a service in the same process.

use std::{sync::atomic::Ordering, time::Duration};

use futures::StreamExt;
use wawo::{Code, InProcess};

use crate::support::{EchoClient, EchoServer, Parrot, RepeatRequest, message};

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
    // There is nobody to call back.
    let status = echo.act(message("call back")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
