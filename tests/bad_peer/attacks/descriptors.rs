//! Running out of file descriptors.

#![cfg(unix)]

use std::{env, time::Duration};

use futures::FutureExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpStream, process::Command, time::timeout};
use wawo::{Config, PeerEvent};

use crate::target::Target;

/// Set in the child process, which has few descriptors.
const CHILD: &str = "WAWO_TEST_FEW_DESCRIPTORS";

/// More than the test itself and a runtime need.
const DESCRIPTORS: u64 = 96;

/// Attack 14: accepting pauses, connected peers are served, and accepting recovers by itself. The
/// test needs its own process, because the limit is per process.
#[tokio::test]
async fn without_descriptors_accepting_pauses_and_recovers() {
    if env::var_os(CHILD).is_some() {
        return run_out().await;
    }
    let name = "attacks::descriptors::without_descriptors_accepting_pauses_and_recovers";
    let child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(30), child).await;
    let output = output.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("recovered"), "{told}");
}

async fn run_out() {
    let limits = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(DESCRIPTORS),
        ..limits
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut target = Target::tcp(Config::default()).await;
    let honest = target.honest().await;
    let mut events = target.handle.events();
    let address = target.address().trim_start_matches("tcp://").to_owned();
    let mut crowd = Vec::new();
    let attack = async {
        // Both ends are in this process, so the server runs out of descriptors together with this
        // end, or one earlier.
        while let Ok(socket) = TcpStream::connect(&address).await {
            crowd.push(socket);
            tokio::task::yield_now().await;
        }
        loop {
            match events.next().await {
                Some(PeerEvent::AcceptFailed(_)) => return,
                Some(_) => {
                    // A remaining descriptor goes to a connection, and the next connection finds
                    // none.
                    crowd.extend(TcpStream::connect(&address).await);
                }
                None => panic!("the server is gone"),
            }
        }
    };
    honest.beside(attack).await;
    honest.rounds(20).await;
    // Each pause is twice as long as the previous one.
    let mut tries = 0;
    while let Some(Some(_)) = events.next().now_or_never() {
        tries += 1;
    }
    assert!(tries < 20, "{tries} tries to accept, or more");
    crowd.clear();
    // A pause lasts at most one second.
    let later = timeout(Duration::from_secs(10), target.honest()).await;
    later.expect("it accepts again").leave().await;
    honest.leave().await;
    println!("recovered");
}
