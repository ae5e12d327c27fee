//! Who is connected to a server now.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    peer::{Peer, WeakPeer},
    transport::Address,
};

/// The peers of a server.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    peers: HashMap<u64, WeakPeer>,
    /// How many of them come from each host.
    hosts: HashMap<String, usize>,
    /// Those that may not have sent their hello yet, oldest first.
    greeting: VecDeque<WeakPeer>,
}

impl Registry {
    pub(crate) fn add(&self, peer: &Peer) {
        let mut state = self.lock();
        if let Some(host) = host(peer.address()) {
            *state.hosts.entry(host.to_owned()).or_default() += 1;
        }
        state.greeting.push_back(peer.downgrade());
        state.peers.insert(peer.id(), peer.downgrade());
    }

    pub(crate) fn remove(&self, peer: &Peer) {
        let mut state = self.lock();
        state.peers.remove(&peer.id());
        if let Some(host) = host(peer.address())
            && let Some(count) = state.hosts.get_mut(host)
        {
            *count -= 1;
            if *count == 0 {
                state.hosts.remove(host);
            }
        }
    }

    /// All peers, in no order.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let state = self.lock();
        state.peers.values().filter_map(WeakPeer::upgrade).collect()
    }

    /// How many connections come from the host of an address.
    pub(crate) fn count_at_host(&self, address: &Address) -> usize {
        let host = host(Some(address));
        let count = host.and_then(|host| self.lock().hosts.get(host).copied());
        count.unwrap_or(0)
    }

    /// The one that has been silent for the longest time, if `max` or more have not sent their
    /// hello.
    pub(crate) fn oldest_greeting(&self, max: usize) -> Option<Peer> {
        let mut state = self.lock();
        if state.greeting.len() >= max {
            let is_greeting =
                |peer: &WeakPeer| peer.upgrade().is_some_and(|peer| peer.is_greeting());
            state.greeting.retain(is_greeting);
        }
        match state.greeting.len() >= max {
            true => state.greeting.pop_front()?.upgrade(),
            false => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a limit for each host counts by.
fn host(address: Option<&Address>) -> Option<&str> {
    match address? {
        Address::Tcp(address) => Some(address.rsplit_once(':')?.0),
        _ => None,
    }
}
