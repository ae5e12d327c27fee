//! Cancellation, and everything that ends with a cancelled call. Time is paused: only calls with a
//! timeout wait for the clock.

use std::{
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream,
};
use tokio::time::timeout;
use wawo::{
    Code, Context, Delivery, InProcess, Peer, Result, Server, Status, StreamEnd, Streaming,
};

use crate::support::{Echo, EchoClient, EchoServer, Message, RepeatRequest, Seen, message, pair};

type Acted = BoxFuture<'static, Result<Message>>;

/// A service of which only `act` and `repeat` are used; each test supplies `act`.
#[derive(Clone)]
struct Acts(Arc<dyn Fn(Context, Message) -> Acted + Send + Sync>);

impl Acts {
    fn new<F>(act: impl Fn(Context, Message) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Message>> + Send + 'static,
    {
        Self(Arc::new(move |cx, message| act(cx, message).boxed()))
    }
}

impl Echo for Acts {
    async fn act(&self, cx: Context, message: Message) -> Result<Message> {
        (self.0)(cx, message).await
    }

    async fn say(&self, _cx: Context, message: Message) -> Result<Message> {
        Ok(message)
    }

    async fn note(&self, _cx: Context, _: Message) {}

    /// Each item is a reply of `act`.
    async fn repeat(&self, cx: Context, request: RepeatRequest) -> Result<Streaming<Message>> {
        let (act, data) = (self.0.clone(), request.data);
        let items = stream::repeat(()).take(request.times as usize);
        let items = items.then(move |()| act(cx.clone(), message(data.clone())));
        Ok(Streaming::new(items))
    }

    async fn join(&self, _cx: Context, _: Streaming<Message>) -> Result<Message> {
        Err(Status::unimplemented(""))
    }

    async fn talk(&self, _cx: Context, _: Streaming<Message>) -> Result<Streaming<Message>> {
        Err(Status::unimplemented(""))
    }
}

/// Both ends of a connection: the server serves `acts`, the client serves a parrot.
async fn world(acts: Acts) -> (Server, Peer, Arc<Seen>) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(acts));
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let parrot = crate::support::Parrot::default();
    let seen = parrot.0.clone();
    let peer = Peer::builder("").add_service(EchoServer::new(parrot));
    (server, peer.connect_over(here).await.unwrap(), seen)
}

fn begun(seen: &Seen) -> bool {
    seen.begun.load(Ordering::SeqCst) == 1
}

fn dropped(seen: &Seen) -> bool {
    seen.dropped.load(Ordering::SeqCst) == 1
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let soon = timeout(Duration::from_secs(1), what).await;
    soon.expect("within a second")
}

#[tokio::test(start_paused = true)]
async fn calls_in_tasks_that_a_handler_spawned_are_cancelled_with_it() {
    // The task is spawned with the context, or the call is made before the task gets it.
    type Spawn = fn(EchoClient);
    let spawns: [Spawn; 2] = [
        |back| {
            wawo::spawn(async move { back.act(message("wait")).await });
        },
        |back| {
            tokio::spawn(back.act(message("wait")).into_future());
        },
    ];
    for spawn in spawns {
        let acts = Acts::new(move |cx, _| async move {
            spawn(EchoClient::new(&cx.peer()));
            std::future::pending().await
        });
        let (_server, peer, seen) = world(acts).await;
        let echo = EchoClient::new(&peer);
        let mut call = Box::pin(echo.act(message("")).into_future());
        tokio::select! {
            _ = &mut call => panic!("it never ends by itself"),
            () = seen.until(begun) => {}
        }
        drop(call);
        soon(seen.until(dropped)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_a_spawned_task_reads_is_cancelled_with_the_handler() {
    let (told, mut hear) = tokio::sync::mpsc::unbounded_channel();
    let acts = Acts::new(move |cx, _| {
        let told = told.clone();
        async move {
            let back = EchoClient::new(&cx.peer());
            let mut replies = back.talk(Streaming::pending()).await?;
            wawo::spawn(async move {
                let end = replies.message().await;
                told.send((end.unwrap_err().code(), replies.end()))
            });
            std::future::pending().await
        }
    });
    let (_server, peer, _seen) = world(acts).await;
    let echo = EchoClient::new(&peer);
    let call = echo.act(message("")).timeout(Duration::from_secs(3));
    assert_eq!(call.await.unwrap_err().code(), Code::DeadlineExceeded);
    let heard = soon(hear.recv()).await;
    // Both the deadline and the cancellation are the call's own; either may be noticed first.
    let (code, end) = heard.unwrap();
    assert!(matches!(code, Code::Cancelled | Code::DeadlineExceeded));
    assert!(end.is_some_and(|end| end != StreamEnd::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_detached_call_outlives_the_handler_that_made_it() {
    let acts = Acts::new(|cx, _| async move {
        let call = EchoClient::new(&cx.peer()).act(message("hold"));
        tokio::spawn(call.detached().into_future());
        std::future::pending().await
    });
    let (_server, peer, seen) = world(acts).await;
    let call = EchoClient::new(&peer).act(message(""));
    let status = call.timeout(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    seen.until(begun).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!dropped(&seen));
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_stream_of_replies_inherit_its_deadline() {
    let acts =
        Acts::new(
            |cx, _| async move { EchoClient::new(&cx.peer()).act(message("deadline")).await },
        );
    let (_server, peer, _seen) = world(acts).await;
    let request = RepeatRequest {
        data: "".into(),
        times: 2,
    };
    let call = EchoClient::new(&peer).repeat(request);
    let mut replies = call.timeout(Duration::from_secs(3)).await.unwrap();
    for _ in 0..2 {
        let left = replies.message().await.unwrap().unwrap();
        assert_eq!(left.data, "3000");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_its_token_cancels_a_call_wherever_it_waits() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let (call, token) = echo.act(message("wait")).with_cancel_guard();
    let call = tokio::spawn(call.into_future());
    pair.at_server.until(begun).await;
    drop(token);
    let status = soon(call).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    soon(pair.at_server.until(dropped)).await;

    let (call, token) = echo.talk(Streaming::pending()).with_cancel_guard();
    let mut replies = call.await.unwrap();
    token.cancel();
    let status = soon(replies.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(replies.end(), Some(StreamEnd::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_kept_or_comes_too_late_cancels_nothing() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let (call, token) = echo.act(message("yield")).with_cancel_guard();
    token.keep();
    assert_eq!(call.await.unwrap().data, "yield");
    let (call, token) = echo.say(message("done")).with_cancel_guard();
    assert_eq!(call.await.unwrap().data, "done");
    drop(token);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_before_it_began_is_not_made() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let acts = Acts::new(move |_, message| {
        count.fetch_add(1, Ordering::Relaxed);
        future::ready(Ok(message))
    });
    let in_process = EchoClient::new(&InProcess::new(EchoServer::new(acts.clone())));
    let (_server, peer, _) = world(acts).await;
    for echo in [in_process, EchoClient::new(&peer)] {
        let (call, token) = echo.act(message("given up")).with_cancel_guard();
        token.cancel();
        let status = soon(call).await.unwrap_err();
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::Cancelled, Delivery::NotSent)
        );
        let (note, token) = echo.note(message("given up")).with_cancel_guard();
        token.cancel();
        assert_eq!(soon(note).await.unwrap_err().code(), Code::Cancelled);
        let status = soon(echo.act(message("late")).timeout(Duration::ZERO)).await;
        let status = status.unwrap_err();
        assert_eq!(
            (status.code(), status.delivery()),
            (Code::DeadlineExceeded, Delivery::NotSent)
        );
        assert_eq!(made.load(Ordering::Relaxed), 0);
        echo.act(message("in time")).await.unwrap();
        assert_eq!(made.swap(0, Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_sees_how_its_stream_ended() {
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    let request = RepeatRequest {
        data: "x".into(),
        times: 1,
    };
    let mut replies = echo.repeat(request).await.unwrap();
    while replies.message().await.unwrap().is_some() {}
    assert_eq!(replies.end(), Some(StreamEnd::Completed));

    let late = echo
        .talk(Streaming::pending())
        .timeout(Duration::from_secs(1));
    let mut replies = late.await.unwrap();
    replies.message().await.unwrap_err();
    let code = Code::DeadlineExceeded;
    assert_eq!(replies.end(), Some(StreamEnd::Failed(code)));

    let mut replies = echo.talk(Streaming::pending()).await.unwrap();
    pair.to_client.close("");
    replies.message().await.unwrap_err();
    assert_eq!(replies.end(), Some(StreamEnd::ConnectionLost));
}

#[tokio::test(start_paused = true)]
async fn peers_that_call_each_other_in_a_circle_stop() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let acts = Acts::new(move |cx, message| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let back = EchoClient::new(&cx.peer()).act(message).await;
            back.map_err(Status::forward)
        }
    });
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(acts.clone()));
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("").add_service(EchoServer::new(acts));
    let peer = peer.connect_over(here).await.unwrap();
    let status = EchoClient::new(&peer).act(message("")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = "17 calls led to this one, each made by the handler of the one before; \
                at most 16 may (max_call_depth)";
    assert_eq!(status.message(), text);
    // The first call, and the sixteen calls that it caused.
    assert_eq!(calls.load(Ordering::SeqCst), 17);
}

#[tokio::test(start_paused = true)]
async fn the_trace_context_goes_along_and_the_depth_does_not_show() {
    let tracer = Acts::new(|cx, _| async move {
        let parent = cx.metadata("traceparent").unwrap_or("none").to_owned();
        let keys = cx.all_metadata().len();
        Ok(message(format!("{parent} {keys}")))
    });
    let relay = Acts::new(|cx, request| async move {
        let mut call = EchoClient::new(&cx.peer()).act(message(""));
        if request.data == "own" {
            call = call.metadata("traceparent", "own");
        }
        if request.data == "detached" {
            call = call.detached();
        }
        call.await
    });
    let (here, there) = tokio::io::duplex(64 * 1024);
    let server = Server::builder().add_service(EchoServer::new(relay));
    let mut server = server.build().unwrap();
    let _ = server.accept_over(there).unwrap();
    let peer = Peer::builder("").add_service(EchoServer::new(tracer));
    let peer = peer.connect_over(here).await.unwrap();
    let echo = EchoClient::new(&peer);
    for (asked, seen) in [
        ("", "00-4bf9-00f0-01 2"),
        ("own", "own 2"),
        ("detached", "none 0"),
    ] {
        let call = echo
            .act(message(asked))
            .metadata("traceparent", "00-4bf9-00f0-01")
            .metadata("baggage", "a=b")
            .metadata("secret", "stays here");
        assert_eq!(call.await.unwrap().data, seen);
    }
}

/// The state of the context that a destructor of a handler saw.
#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Nothing,
    Cancelled,
    Working,
}

struct Looks(Arc<OnceLock<Saw>>);

impl Drop for Looks {
    fn drop(&mut self) {
        let saw = match Context::current() {
            None => Saw::Nothing,
            Some(context) if context.is_cancelled() => Saw::Cancelled,
            Some(_) => Saw::Working,
        };
        self.0.set(saw).unwrap();
    }
}

#[tokio::test]
async fn the_destructors_of_a_dropped_handler_see_that_its_call_is_cancelled() {
    for answers in [false, true] {
        let saw = Arc::new(OnceLock::new());
        let told = saw.clone();
        let acts = Acts::new(move |_, message| {
            let looks = Looks(told.clone());
            async move {
                let _looks = looks;
                match answers {
                    true => Ok(message),
                    false => std::future::pending().await,
                }
            }
        });
        let local = InProcess::new(EchoServer::new(acts));
        let mut call = Box::pin(EchoClient::new(&local).act(message("")).into_future());
        assert_eq!(futures::poll!(&mut call).is_ready(), answers);
        drop(call);
        let expected = match answers {
            true => Saw::Working,
            false => Saw::Cancelled,
        };
        assert_eq!(saw.get(), Some(&expected));
    }
}

#[test]
fn a_handler_may_be_dropped_at_the_end_of_its_thread() {
    thread_local! {
        static KEPT: RefCell<Option<BoxFuture<'static, Result<Message>>>> =
            const { RefCell::new(None) };
    }
    let acts = Acts::new(move |_, _| std::future::pending());
    let thread = std::thread::spawn(move || {
        // This thread local is made before those of the runtime, so it is dropped after them.
        KEPT.set(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let local = InProcess::new(EchoServer::new(acts));
            let mut call = EchoClient::new(&local).act(message("")).boxed();
            assert!(futures::poll!(&mut call).is_pending());
            KEPT.set(Some(call));
        });
    });
    assert!(thread.join().is_ok());
}
