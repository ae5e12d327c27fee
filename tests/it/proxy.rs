//! Calls of services without a schema, sent on from one connection to another unchanged.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use tower::{Service, ServiceExt, service_fn, util::MapRequestLayer};
use wawo::{Code, Config, Peer, Request, Response, Server, StreamEnd};

use crate::support::{EchoClient, Pair, RepeatRequest, client_of, message, pair};

/// A client of a proxy before a parrot.
struct Proxied {
    behind: Pair,
    _proxy: Server,
    echo: EchoClient,
}

async fn proxied(config: Config) -> Proxied {
    let behind = pair().await;
    let proxy = Server::builder().config(config);
    let mut proxy = proxy.fallback(behind.to_server.clone()).build().unwrap();
    let echo = EchoClient::new(&client_of(&mut proxy).await);
    Proxied {
        behind,
        _proxy: proxy,
        echo,
    }
}

#[tokio::test]
async fn calls_of_every_shape_pass_a_proxy() {
    let Proxied {
        behind,
        echo,
        _proxy,
    } = proxied(Config::default()).await;
    let large = vec![7; 1_000_000];
    for data in [&b""[..], b"hi", &large] {
        let reply = echo.say(message(data.to_vec())).await.unwrap();
        assert_eq!(reply.data, data);
    }
    let request = RepeatRequest {
        data: "x".into(),
        times: 5_000,
    };
    let mut replies = echo.repeat(request).await.unwrap();
    let mut count = 0;
    while let Some(reply) = replies.message().await.unwrap() {
        assert_eq!(reply.data, "x");
        count += 1;
    }
    assert_eq!((count, replies.end()), (5_000, Some(StreamEnd::Completed)));
    let parts = || stream::iter(["a", "b", "c"].map(message));
    assert_eq!(echo.join(parts()).await.unwrap().data, "abc");
    assert_eq!(echo.talk(parts()).await.unwrap().count().await, 3);
    echo.note(message("note")).await.unwrap();
    let seen = &behind.at_server;
    seen.until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
}

#[tokio::test]
async fn metadata_and_statuses_pass_a_proxy_as_they_are() {
    let Proxied {
        behind: _behind,
        echo,
        _proxy,
    } = proxied(Config::default()).await;
    let call = echo.act(message("metadata")).metadata("asked", "this");
    let (_, metadata) = call.with_metadata().await.unwrap();
    assert_eq!(metadata.text("answered"), Some("this"));
    assert_eq!(metadata.len(), 1);
    let status = echo.act(message("fail")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "as asked");
    assert_eq!(status.details().len(), 1);
    let status = echo.act(message("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[tokio::test]
async fn a_deadline_passes_a_proxy_and_none_stays_none() {
    let Proxied {
        behind: _behind,
        echo,
        _proxy,
    } = proxied(Config::default()).await;
    let left = |reply: crate::support::Message| {
        let text = String::from_utf8(reply.data.to_vec()).unwrap();
        text.parse::<u128>().unwrap()
    };
    let call = echo
        .act(message("deadline"))
        .timeout(Duration::from_secs(60));
    let with = left(call.await.unwrap());
    assert!((50_000..=60_000).contains(&with), "{with}");
    let without = echo.act(message("deadline")).no_timeout().await.unwrap();
    assert_eq!(left(without), u128::MAX);
}

#[tokio::test]
async fn a_stream_may_take_longer_than_other_calls_behind_a_proxy_too() {
    let config = Config::builder()
        .max_timeout(Some(Duration::from_millis(50)))
        .max_stream_time(Some(Duration::from_secs(60)))
        .build()
        .unwrap();
    let Proxied {
        behind,
        echo,
        _proxy,
    } = proxied(config).await;
    let status = echo.act(message("wait")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // A request of a server stream is one message, as that of a call with one reply.
    let (sender, requests) = futures::channel::mpsc::unbounded();
    let mut talk = echo.talk(requests).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    sender.unbounded_send(message("late")).unwrap();
    assert_eq!(talk.message().await.unwrap().unwrap().data, "late");
    drop(behind);
}

#[tokio::test]
async fn a_call_that_is_cancelled_before_a_proxy_is_cancelled_behind_it() {
    let Proxied {
        behind,
        echo,
        _proxy,
    } = proxied(Config::default()).await;
    let waiting = tokio::spawn(echo.act(message("wait")));
    let seen = &behind.at_server;
    seen.until(|seen| seen.begun.load(Ordering::SeqCst) == 1)
        .await;
    waiting.abort();
    seen.until(|seen| seen.dropped.load(Ordering::SeqCst) == 1)
        .await;
}

#[tokio::test]
async fn what_was_not_served_behind_a_proxy_may_be_made_again() {
    let Proxied {
        behind,
        echo,
        _proxy,
    } = proxied(Config::default()).await;
    behind.to_server.close("");
    behind.to_server.closed().await;
    let status = echo.say(message("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.is_safe_to_retry(), "{status:?}");
}

#[tokio::test]
async fn calls_of_services_that_are_there_do_not_reach_the_fallback() {
    let counted = Arc::new(AtomicUsize::new(0));
    let count = counted.clone();
    let fallback = service_fn(move |_: Request| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Err::<Response, _>(wawo::Status::unimplemented("not here either")) }
    });
    let own = crate::support::EchoServer::new(crate::support::Parrot::default());
    let builder = Server::builder().add_service(own).fallback(fallback);
    let mut server = builder.build().unwrap();
    let peer = client_of(&mut server).await;
    EchoClient::new(&peer).say(message("own")).await.unwrap();
    assert_eq!(counted.load(Ordering::SeqCst), 0);
    let other = Request::by_id(
        wawo::ServiceId(8),
        wawo::MethodId(1),
        false,
        wawo::Body::One(Default::default()),
    );
    let reply = peer.clone().ready().await.unwrap().call(other).await;
    assert_eq!(reply.unwrap_err().message(), "not here either");
    assert_eq!(counted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn layers_around_all_services_see_the_calls_of_a_fallback_too() {
    let behind = pair().await;
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = paths.clone();
    let layer = MapRequestLayer::new(move |request: Request| {
        let path = request.descriptor().map(|method| method.path().to_owned());
        seen.lock().unwrap().push((request.service().0, path));
        request
    });
    let proxy = Server::builder()
        .layer(layer)
        .fallback(behind.to_server.clone());
    let mut proxy = proxy.build().unwrap();
    let echo = EchoClient::new(&client_of(&mut proxy).await);
    echo.say(message("")).await.unwrap();
    // A proxy has no schema of what it sends on.
    assert_eq!(*paths.lock().unwrap(), [(7, None)]);
}

/// Proxies that send every call on to each other end it by its depth.
#[tokio::test]
async fn a_circle_of_proxies_ends() {
    let next = Arc::new(OnceLock::<Peer>::new());
    let passed = Arc::new(AtomicUsize::new(0));
    let fallback = {
        let (next, passed) = (next.clone(), passed.clone());
        service_fn(move |request: Request| {
            passed.fetch_add(1, Ordering::SeqCst);
            let next = next.get().expect("it is set before the first call").clone();
            next.oneshot(request)
        })
    };
    let config = Config::builder().max_call_depth(3).build().unwrap();
    let proxy = Server::builder().config(config).fallback(fallback);
    let mut proxy = proxy.build().unwrap();
    let peer = client_of(&mut proxy).await;
    next.set(peer.clone()).unwrap();
    let echo = EchoClient::new(&peer);
    let status = echo.say(message("")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("max_call_depth"), "{status}");
    // At depths 0, 1, 2 and 3.
    assert_eq!(passed.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn requests_of_a_stream_that_fails_end_behind_a_proxy() {
    let Proxied {
        behind,
        echo,
        _proxy,
    } = proxied(Config::default()).await;
    let (sender, requests) = futures::channel::mpsc::unbounded();
    let talk = echo.talk(requests).await.unwrap();
    sender.unbounded_send(message("one")).unwrap();
    drop(talk);
    // The stream of requests is dropped when its call is cancelled, all the way.
    while !sender.is_closed() {
        tokio::task::yield_now().await;
    }
    behind.to_server.drain(Duration::from_secs(5)).await;
}
