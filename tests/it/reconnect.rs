//! Peers that reconnect: their connections come and go, and the peer, its stubs and its calls stay. Time is
//! paused, except in tests of restarted servers.

mod calls;
mod ends;
mod gate;
mod handlers;
mod hooks;
mod identities;
mod log;
mod moves;
mod restarts;
mod tries;

use std::time::Duration;

use self::gate::Gate;
use wawo::{Events, Peer, PeerEvent, Reconnect, ReconnectBuilder};

const SECOND: Duration = Duration::from_secs(1);

/// Settings with the default waits.
fn reconnect(change: impl FnOnce(ReconnectBuilder) -> ReconnectBuilder) -> Reconnect {
    change(Reconnect::builder()).build().unwrap()
}

/// A connected peer behind a gate.
async fn connected(gate: &Gate, settings: Reconnect) -> Peer {
    let builder = gate.builder().reconnect(settings);
    builder.connect().await.expect("the gate is open")
}

/// The name of an event, for tests of their order.
fn name(event: &PeerEvent) -> &'static str {
    match event {
        PeerEvent::Connected(_) => "connected",
        PeerEvent::Lost(..) => "lost",
        PeerEvent::TryFailed(..) => "try failed",
        PeerEvent::Draining(_) => "draining",
        PeerEvent::SchemaDiffers(..) => "schema differs",
        PeerEvent::Disconnected(..) => "disconnected",
        _ => "other",
    }
}

/// Waits for an event of this name.
async fn until(events: &mut Events, wanted: &str) -> PeerEvent {
    loop {
        let event = events.next().await.expect("the peer is not over");
        if name(&event) == wanted {
            return event;
        }
    }
}
