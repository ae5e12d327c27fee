//! The log of servers, connections and limits: which lines come, and how often. Failed calls are in `logs`.

mod limits;
mod targets;

use std::{future::IntoFuture, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::sleep,
};
use wawo::{Config, Peer, Server, ServerHandle};

use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, message, of_server, pair, pair_with},
};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> wawo::ServerBuilder {
    Server::builder().add_service(EchoServer::new(Parrot::default()))
}

#[tokio::test]
async fn at_info_a_server_logs_its_life_and_neither_calls_nor_connections() {
    let (log, _guard) = Log::begin();
    let server = builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.addresses()[0].to_string(), server.handle());
    let running = tokio::spawn(server.run());
    for _ in 0..3 {
        let peer = Peer::connect(address.as_str()).await.unwrap();
        EchoClient::new(&peer).say(message("hi")).await.unwrap();
        EchoClient::new(&peer)
            .act(message("fail"))
            .await
            .unwrap_err();
        peer.drain(SECOND).await;
    }
    while !handle.peers().is_empty() {
        tokio::task::yield_now().await;
    }
    handle.drain(SECOND).await;
    running.await.unwrap().unwrap();
    let expected = [
        format!("INFO listening address={address} services=\"tests.echo.Echo\""),
        "INFO draining connections=0 grace=1s spread=0ns".into(),
        "INFO drained connections=0 finished=0 cut=0".into(),
    ];
    assert_eq!(log.at_info(), expected);
    assert_eq!(log.of("wawo::server"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_drain_logs_the_calls_that_it_cut_and_that_it_was_hastened() {
    let pair = pair().await;
    let call = tokio::spawn(
        EchoClient::new(&pair.to_server)
            .act(message("wait"))
            .into_future(),
    );
    pair.at_server
        .until(|seen| seen.begun.load(std::sync::atomic::Ordering::SeqCst) > 0)
        .await;
    let (log, _guard) = Log::begin();
    let handle = pair.server.handle();
    let drain = tokio::spawn(handle.drain(60 * SECOND).into_future());
    pair.to_server.draining().await;
    handle.drain(SECOND).await;
    call.await.unwrap().unwrap_err();
    drain.await.unwrap();
    let expected = [
        "INFO draining connections=1 grace=60s spread=0ns",
        "INFO the drain ends earlier grace=1s spread=0ns",
        "INFO drained connections=1 finished=0 cut=1",
    ];
    assert_eq!(log.of("wawo::server"), expected);
    let cut = "WARN a drain cut calls, as its grace was over calls=1 peers=1 finished=0";
    assert_eq!(log.of("wawo::peer"), [cut]);
}

#[tokio::test]
async fn a_server_that_is_dropped_says_that_it_did_not_drain() {
    let (log, _guard) = Log::begin();
    drop(builder().bind("mem://framework-log-dropped").await.unwrap());
    drop(builder().build().unwrap());
    assert_eq!(log.lines("stopped"), ["INFO stopped without a drain"]);
}

#[tokio::test]
async fn services_that_come_and_go_are_logged() {
    let (log, _guard) = Log::begin();
    let server = Server::builder().build().unwrap();
    let handle = server.handle();
    handle
        .add_service(EchoServer::new(Parrot::default()))
        .unwrap();
    handle
        .add_service(EchoServer::new(Parrot::default()))
        .unwrap_err();
    assert!(handle.remove_service("tests.echo.Echo"));
    assert!(!handle.remove_service("tests.echo.Echo"));
    let expected =
        ["added", "removed"].map(|what| format!("INFO service {what} service=\"tests.echo.Echo\""));
    assert_eq!(log.at_info(), expected);
}

#[tokio::test]
async fn at_debug_each_connection_has_a_line_at_its_begin_and_end() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let (here, there) = (pair.to_server.clone(), pair.to_client.clone());
    let (server, client) = (
        format!("peer {}", here.id()),
        format!("peer {}", there.id()),
    );
    here.drain(SECOND).await;
    there.closed().await;
    let mut expected = [
        format!("DEBUG connection open peer={client} side=\"accepting\""),
        format!("DEBUG connection open peer={server} side=\"connecting\""),
        format!(
            "DEBUG connection over peer={server} side=\"connecting\" reason=\"closed_here\" error=the connection was closed on this side"
        ),
        format!(
            "DEBUG connection over peer={client} side=\"accepting\" reason=\"closed_by_peer\" error=the peer closed the connection (normal)"
        ),
    ];
    let mut lines = log.of("wawo::connection");
    expected.sort();
    lines.sort();
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected.as_str()), "{line}");
    }
    assert!(log.at_info().is_empty(), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_that_a_limit_refuses_are_counted_with_the_limit() {
    let (log, _guard) = Log::begin();
    let config = of_server(|config| config.max_connections(1));
    let server = builder().config(config).build().unwrap();
    let handle = server.handle();
    let accept = |port: u16| {
        let (here, there) = duplex(64 * 1024);
        let accepted = handle.accept_from(there, format!("tcp://192.0.2.9:{port}").as_str());
        (here, accepted)
    };
    let (_first, accepted) = accept(1);
    accepted.unwrap();
    for port in 2..=4 {
        accept(port).1.unwrap_err();
    }
    sleep(2 * SECOND).await;
    let expected = [(2, 1), (3, 2)].map(|(port, count)| {
        format!(
            "WARN connections were refused from=tcp://192.0.2.9:{port} count={count} \
             limit=max_connections_per_host \
             error=\"this host has 1 connections and may have no more (max_connections_per_host)\""
        )
    });
    assert_eq!(log.at_info(), expected);
}

/// Sends bytes that are not of the protocol to a server, from this address, and waits until it is closed.
async fn violate(handle: &ServerHandle, from: &str) {
    let (mut here, there): (DuplexStream, _) = duplex(64 * 1024);
    handle.accept_from(there, from).unwrap();
    here.write_all(b"HELP\r\n\r\nHELP\r\n").await.unwrap();
    here.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn violations_are_warnings_with_the_address_at_most_one_a_second() {
    let (log, _guard) = Log::begin();
    let server = builder().build().unwrap();
    let handle = server.handle();
    let _running = tokio::spawn(server.run());
    for port in 1..=4 {
        violate(&handle, &format!("tcp://192.0.2.7:{port}")).await;
    }
    let lines = || log.lines("peers broke the protocol");
    assert_eq!(lines().len(), 1, "{log:?}");
    sleep(2 * SECOND).await;
    let lines = lines();
    let counts = [("192.0.2.7:1", 1), ("192.0.2.7:2", 3)];
    assert_eq!(lines.len(), counts.len(), "{lines:?}");
    for (line, (from, count)) in lines.iter().zip(counts) {
        let begin = format!(
            "WARN peers broke the protocol peer=\"tcp://{from}\" side=\"accepting\" count={count} \
             error=the peer broke the protocol: not a wawo connection: it begins with \"HELP"
        );
        assert!(line.starts_with(&begin), "{line}");
    }
    // Each has its line at DEBUG, too.
    assert_eq!(log.lines("reason=\"violation\"").len(), 4, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_or_times_out_is_no_warning() {
    let (log, _guard) = Log::begin();
    let config = Config::builder()
        .keep_alive_interval(SECOND)
        .keep_alive_timeout(SECOND);
    let config = config.build().unwrap();
    let silent = {
        let server = builder().config(config.clone()).build().unwrap();
        let (mut here, there) = duplex(64 * 1024);
        server
            .handle()
            .accept_from(there, "tcp://192.0.2.8:1")
            .unwrap();
        here.write_all(b"WAWO/1\r\n\0\0\0\0\x01\0\0\0\0\0\0\0")
            .await
            .unwrap();
        sleep(10 * SECOND).await;
        here
    };
    drop(silent);
    let pair = pair_with(config.clone(), config).await;
    let (here, there) = (pair.to_server, pair.to_client);
    drop(pair.server);
    here.closed().await;
    drop(there);
    let reasons: Vec<_> = ["keep_alive_timeout", "lost"]
        .map(|reason| log.lines(&format!("reason=\"{reason}\"")).len())
        .into();
    assert!(reasons.iter().all(|lines| *lines >= 1), "{log:?}");
    assert!(log.at_info().is_empty(), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn one_way_messages_that_are_not_sent_are_logged_once_a_second() {
    let (log, _guard) = Log::begin();
    let pair = pair().await;
    let echo = EchoClient::new(&pair.to_server);
    for _ in 0..5 {
        let note = echo.note(message("")).metadata("key", "v".repeat(9_000));
        note.await.unwrap();
    }
    echo.say(message("")).await.unwrap();
    sleep(2 * SECOND).await;
    let lines = log.lines("one-way messages were not sent");
    let counts = ["count=1", "count=4"];
    assert_eq!(lines.len(), counts.len(), "{log:?}");
    for (line, count) in lines.iter().zip(counts) {
        let begin =
            "WARN one-way messages were not sent method=\"tests.echo.Echo/Note\" peer=\"peer ";
        assert!(line.starts_with(begin) && line.contains(count), "{line}");
    }
}
