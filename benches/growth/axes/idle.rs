//! More idle peers, beside the peer whose calls are measured.

use wawo::Config;

use crate::{
    curve::Curve,
    load::{BYTES, IN_FLIGHT, Load, Pace},
    process::resident_bytes,
    table::Table,
    world::{Listening, note_file_limit, one_thread, within_file_limit},
};

const PEERS: [usize; 5] = [0, 10, 100, 1_000, 10_000];

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("idle peers", &["resident bytes a peer"]);
    one_thread().block_on(async {
        let server = Listening::start(Config::default()).await;
        let client = server.connect().await;
        let mut idle = Vec::new();
        let mut before = None;
        // One more connection for the peer that calls.
        for peers in within_file_limit(&PEERS.map(|peers| peers + 1)) {
            let peers = peers - 1;
            while idle.len() < peers {
                idle.push(server.connect().await);
            }
            let cost = Load::of(&client, IN_FLIGHT, BYTES).measure(pace).await;
            let resident = resident_bytes();
            let before = *before.get_or_insert(resident);
            curve.push_with(peers, cost, vec![each(before, resident, peers)]);
        }
    });
    let mut table = curve.per_call();
    table.note(
        "Resident are both ends of a connection together, without the buffers of the kernel.",
    );
    note_file_limit(&mut table, PEERS[PEERS.len() - 1] + 1);
    table
}

/// The memory per added peer. With few peers it is not measurable, because memory is allocated in
/// pages.
fn each(before: Option<u64>, after: Option<u64>, peers: usize) -> String {
    match (before, after) {
        (Some(before), Some(after)) if peers >= 100 => {
            (after.saturating_sub(before) / peers as u64).to_string()
        }
        _ => "-".to_owned(),
    }
}
