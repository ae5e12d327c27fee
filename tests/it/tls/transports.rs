//! The same calls over TLS over every transport, from both ends.

use std::sync::atomic::Ordering;

use super::support::{client, serve, server_tls};
use crate::support::{EchoClient, message};

async fn both_ends_call(address: &str) {
    let (server, address, seen) = serve(address, server_tls()).await;
    let peer = client(&address).connect().await.unwrap();
    let echo = EchoClient::new(&peer);
    assert_eq!(echo.say(message("there")).await.unwrap().data, "there");
    assert_eq!(echo.act(message("call back")).await.unwrap().data, "back");
    echo.note(message("note")).await.unwrap();
    seen.until(|seen| seen.notes.load(Ordering::SeqCst) == 1)
        .await;
    let large = vec![7; 1024 * 1024];
    assert_eq!(echo.say(message(large.clone())).await.unwrap().data, large);
    server.stop().await;
}

#[tokio::test]
async fn both_ends_call_over_tcp() {
    both_ends_call("tls://127.0.0.1:0").await;
    both_ends_call("tls://localhost:0").await;
}

#[cfg(unix)]
#[tokio::test]
async fn both_ends_call_over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("wawo-it-tls-{}.sock", std::process::id()));
    both_ends_call(&format!("tls+unix://{}", path.display())).await;
}

#[cfg(windows)]
#[tokio::test]
async fn both_ends_call_over_a_named_pipe() {
    both_ends_call(&format!("tls+pipe://wawo-it-tls-{}", std::process::id())).await;
}

#[tokio::test]
async fn both_ends_call_over_memory() {
    both_ends_call("tls+mem://both_ends_call_over_tls").await;
}
