//! Tests of admission: which connections are admitted, and which have to leave for them. Time is an
//! argument.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{Admission, AdmissionResult, ConnectionLimits, MAX_LEAVING, PlaceId};
use crate::{
    connection::Activity,
    peer::ConnectionLimit,
    server::host::{Host, Newcomer},
};

const SECOND: Duration = Duration::from_secs(1);

/// Admission with a clock, and with the use of each connection.
struct Door {
    admission: Admission,
    now: Instant,
    activities: HashMap<PlaceId, Activity>,
}

impl Door {
    fn new(connections: usize, handshakes: usize, per_host: usize) -> Self {
        let limits = ConnectionLimits {
            connections,
            handshakes,
            per_host,
        };
        Self {
            admission: Admission::new(limits),
            now: Instant::now(),
            activities: HashMap::new(),
        }
    }

    fn admit(&mut self, newcomer: impl Into<Newcomer>) -> Result<AdmissionResult, ConnectionLimit> {
        self.now += SECOND;
        let activity = |place| self.activities.get(&place).copied().unwrap_or_default();
        self.admission.admit(newcomer.into(), self.now, activity)
    }

    /// Admits a connection whose hello comes; no other has to leave.
    fn open(&mut self, host: Option<Host>) -> PlaceId {
        let admitted = self.admit(host).unwrap();
        assert_eq!((admitted.makes_room, admitted.asked), (None, None));
        assert_eq!(self.admission.is_silent(admitted.place), None);
        self.admission.handshake_done(admitted.place);
        admitted.place
    }

    fn called(&mut self, place: PlaceId) {
        self.now += SECOND;
        self.activities.entry(place).or_default().last_call = Some(self.now);
    }

    /// Sets whether a connection has calls from now on.
    fn has_calls(&mut self, place: PlaceId, has_calls: bool) {
        self.called(place);
        self.activities.entry(place).or_default().has_calls = has_calls;
    }

    /// Admits a connection of this host; returns the one that has to leave.
    fn cost_of(&mut self, number: u32) -> PlaceId {
        let place = self.admit(host(number)).unwrap().makes_room.unwrap();
        self.admission.remove(place);
        place
    }
}

/// A host by its number.
fn host(number: u32) -> Option<Host> {
    Some(Host::V4(Ipv4Addr::from_bits(number)))
}

#[test]
fn a_host_has_no_more_connections_than_its_limit() {
    let mut door = Door::new(100, 100, 2);
    let first = door.open(host(1));
    door.open(host(1));
    let limit = ConnectionLimit::MaxConnectionsPerHost;
    assert_eq!(door.admit(host(1)), Err(limit));
    door.open(host(2));
    // Connections that are not counted by host have no limit per host.
    for _ in 0..5 {
        door.open(None);
    }
    door.admission.remove(first);
    door.open(host(1));
    assert_eq!(door.admit(host(1)), Err(limit));
}

/// Ten thousand idle connections of one host, with their hellos, keep no other host out.
#[test]
fn the_host_with_the_most_connections_makes_room_down_to_its_share() {
    let mut door = Door::new(100, 1_000, 1_000);
    let crowd: Vec<_> = (0..100).map(|_| door.open(host(1))).collect();
    // The crowd fills the whole server. It is the only host, so that its share is the whole server.
    assert_eq!(door.admit(host(1)), Err(ConnectionLimit::MaxConnections));
    // Each newcomer is another host: with n hosts, a host's share is a hundredth part of n.
    let mut made_room = Vec::new();
    for number in 2..=100 {
        match door.admit(host(number)) {
            Ok(admitted) => made_room.push(admitted.makes_room.unwrap()),
            Err(limit) => {
                assert_eq!(limit, ConnectionLimit::MaxConnections);
                break;
            }
        }
        let place = *made_room.last().unwrap();
        door.admission.remove(place);
    }
    // The oldest connections left first, until each of a hundred hosts had one.
    assert_eq!(made_room, crowd[..99]);
    assert_eq!(door.admit(host(101)), Err(ConnectionLimit::MaxConnections));
}

#[test]
fn nobody_is_closed_where_no_host_has_more_than_its_share() {
    let mut door = Door::new(4, 100, 100);
    for number in [1, 1, 2, 2] {
        door.open(host(number));
    }
    for number in [1, 2] {
        assert_eq!(
            door.admit(host(number)),
            Err(ConnectionLimit::MaxConnections)
        );
    }
    // With a third host, the share is one.
    assert!(door.admit(host(3)).unwrap().makes_room.is_some());
}

#[test]
fn what_is_not_counted_by_host_makes_no_room_and_may_be_given_some() {
    let mut door = Door::new(4, 100, 100);
    for _ in 0..4 {
        door.open(None);
    }
    assert_eq!(door.admit(None), Err(ConnectionLimit::MaxConnections));
    assert_eq!(door.admit(host(1)), Err(ConnectionLimit::MaxConnections));
    // The program's own connections are admitted all the same.
    door.admission.admit_own(door.now);
    let mut door = Door::new(4, 100, 100);
    let crowd = [1, 1, 1, 2].map(|number| door.open(host(number)));
    assert_eq!(door.admit(None).unwrap().makes_room, Some(crowd[0]));
    assert_eq!(door.admit(None), Err(ConnectionLimit::MaxConnections));
}

#[test]
fn those_that_never_had_a_call_go_first_and_then_the_longest_idle() {
    let mut door = Door::new(6, 100, 100);
    let [a, b, c, d, e, f] = [(); 6].map(|()| door.open(host(1)));
    for place in [e, b, a, d] {
        door.called(place);
    }
    // The choice follows the use now, not the use when another made room.
    let next = |door: &mut Door, number| {
        let place = door.admit(host(number)).unwrap().makes_room.unwrap();
        door.admission.remove(place);
        place
    };
    assert_eq!(next(&mut door, 2), c);
    assert_eq!(next(&mut door, 3), f);
    assert_eq!(next(&mut door, 4), e);
    door.called(b);
    assert_eq!(next(&mut door, 5), a);
    assert_eq!(next(&mut door, 6), d);
    assert_eq!(door.admit(host(7)), Err(ConnectionLimit::MaxConnections));
}

/// It holds for many connections, and whatever the order was when they were last looked at.
#[test]
fn one_with_calls_goes_only_if_its_host_has_no_other() {
    let mut door = Door::new(42, 100, 100);
    let busy = [(); 40].map(|()| door.open(host(1)));
    for place in busy {
        door.has_calls(place, true);
    }
    let [idle, never] = [(); 2].map(|()| door.open(host(1)));
    door.called(idle);
    assert_eq!(door.cost_of(2), never);
    assert_eq!(door.cost_of(3), idle);
    // Among those with calls, the one whose last call is the longest ago leaves.
    assert_eq!(door.cost_of(4), busy[0]);
    // All were busy when they were looked at. Among those that are idle now, again the longest idle one
    // leaves.
    door.has_calls(busy[39], false);
    door.has_calls(busy[20], false);
    assert_eq!(door.cost_of(5), busy[39]);
    assert_eq!(door.cost_of(6), busy[20]);
    assert_eq!(door.cost_of(7), busy[1]);
}

/// All are looked at once a second, however many newcomers there are.
#[test]
fn a_host_of_connections_that_have_calls_is_not_looked_at_whole_for_each_newcomer() {
    let mut door = Door::new(1_000, 1_000, 1_000);
    let crowd: Vec<_> = (0..1_000).map(|_| door.open(host(1))).collect();
    for place in &crowd {
        door.has_calls(*place, true);
    }
    let looked = std::cell::Cell::new(0);
    for number in 2..100 {
        let activity = |place| {
            looked.set(looked.get() + 1);
            let last_call = Some(door.now + SECOND * looked.get());
            Activity {
                last_call,
                ..door.activities[&place]
            }
        };
        let admitted = door
            .admission
            .admit(host(number).into(), door.now, activity);
        assert!(admitted.unwrap().makes_room.is_some());
    }
    assert!(looked.get() <= 2_000 + 8 * 98, "{}", looked.get());
}

#[test]
fn one_search_looks_at_a_few_and_finds_somebody_all_the_same() {
    let mut door = Door::new(1_000, 1_000, 1_000);
    let crowd: Vec<_> = (0..1_000).map(|_| door.open(host(1))).collect();
    for place in &crowd {
        door.called(*place);
    }
    let looked = std::cell::Cell::new(0);
    let activities = door.activities.clone();
    let activity = |place| {
        looked.set(looked.get() + 1);
        activities[&place]
    };
    let admitted = door.admission.admit(host(2).into(), door.now, activity);
    assert!(admitted.unwrap().makes_room.is_some());
    assert_eq!(looked.get(), 8);
}

#[test]
fn the_longest_silent_is_asked_and_goes_behind_the_others_if_it_has_spoken() {
    let mut door = Door::new(100, 2, 100);
    let a = door.admit(host(1)).unwrap().place;
    let b = door.admit(host(1)).unwrap().place;
    assert!(door.admission.awaits_first_polls(), "neither had a turn");
    door.admission.is_silent(b);
    door.admission.is_silent(a);
    assert!(!door.admission.awaits_first_polls());
    // The connection that was looked at first has been silent for longer.
    let c = door.admit(host(1)).unwrap();
    assert_eq!(c.asked, Some(b));
    door.admission.is_silent(c.place);
    // The asked connection keeps its place, so the next is asked, and the one after it.
    assert_eq!(door.admission.has_spoken(b), Some(a));
    assert_eq!(door.admission.has_spoken(a), Some(c.place));
    // All have sent bytes, so that they are asked again. A connection that is asked already is not asked
    // twice.
    assert_eq!(door.admission.has_spoken(c.place), Some(b));
    door.admission.remove(b);
    let d = door.admit(host(1)).unwrap();
    assert_eq!(d.asked, Some(a));
    assert_eq!(door.admission.is_silent(d.place), None);
    // A hello that comes meanwhile frees a place, as the end of a connection does.
    door.admission.handshake_done(a);
    door.admission.remove(c.place);
    let e = door.admit(host(1)).unwrap();
    assert_eq!(e.asked, None);
}

/// Drivers that did not run yet are fewer than the limit, so that none of them has to leave.
#[test]
fn one_that_has_spoken_is_not_asked_again_while_another_may_say_hello() {
    let mut door = Door::new(100, 1, 100);
    let a = door.admit(host(1)).unwrap().place;
    assert_eq!(door.admission.is_silent(a), None);
    let b = door.admit(host(1)).unwrap();
    assert_eq!(b.asked, Some(a));
    assert_eq!(door.admission.has_spoken(a), None);
    // Its driver runs and finds no hello, so there is one too many.
    assert_eq!(door.admission.is_silent(b.place), Some(a));
}

#[test]
fn those_without_a_turn_are_asked_only_if_there_are_no_others() {
    let mut door = Door::new(100, 2, 100);
    let a = door.admit(host(1)).unwrap().place;
    let b = door.admit(host(1)).unwrap().place;
    door.admission.is_silent(b);
    assert_eq!(door.admit(host(1)).unwrap().asked, Some(b));
    // Here the accept loop waits, but not for ever.
    assert!(door.admission.awaits_first_polls());
    assert_eq!(door.admit(host(1)).unwrap().asked, Some(a));
    // It does not count as silent: its driver did not run before it was asked.
    assert_eq!(door.admission.is_silent(a), None);
    assert!(door.admission.awaits_first_polls());
}

#[test]
fn sockets_on_their_way_out_are_bounded() {
    let mut door = Door::new(1_000, 1, 1_000);
    let first = door.admit(host(1)).unwrap().place;
    let mut asked = Vec::new();
    for _ in 0..MAX_LEAVING {
        asked.push(door.admit(host(1)).unwrap().asked.unwrap());
    }
    assert_eq!(asked[0], first);
    assert_eq!(door.admit(host(1)), Err(ConnectionLimit::MaxHandshakes));
    door.admission.remove(first);
    assert!(door.admit(host(1)).is_ok());

    // Sockets that linger when they are refused keep nobody out.
    let mut door = Door::new(1_000, 1, 1_000);
    for _ in 0..MAX_LEAVING {
        assert!(door.admission.may_explain());
    }
    assert!(!door.admission.may_explain());
    let first = door.admit(host(1)).unwrap().place;
    assert_eq!(door.admit(host(1)).unwrap().asked, Some(first));
    door.admission.explained();
    assert!(door.admission.may_explain());

    let mut door = Door::new(1_000, 2_000, 2_000);
    for _ in 0..1_000 {
        door.open(host(1));
    }
    for _ in 0..MAX_LEAVING {
        assert!(door.admit(host(2)).unwrap().makes_room.is_some());
    }
    assert_eq!(door.admit(host(2)), Err(ConnectionLimit::MaxConnections));
}

#[test]
fn one_behind_a_proxy_counts_for_its_host_once_that_is_known() {
    let mut door = Door::new(100, 100, 2);
    let behind = |door: &mut Door| door.admit(Newcomer::Proxied).unwrap().place;
    let places = [(); 4].map(|()| behind(&mut door));
    assert_eq!(door.admission.set_host(places[0], host(1)), Ok(()));
    assert_eq!(door.admission.set_host(places[1], host(1)), Ok(()));
    let limit = ConnectionLimit::MaxConnectionsPerHost;
    assert_eq!(door.admission.set_host(places[2], host(1)), Err(limit));
    assert_eq!(door.admit(host(1)), Err(limit));
    // A connection of the proxy itself counts for no host.
    assert_eq!(door.admission.set_host(places[3], None), Ok(()));
    door.admission.remove(places[0]);
    assert_eq!(door.admission.set_host(places[2], host(1)), Ok(()));
    for place in &places[1..] {
        door.admission.remove(*place);
    }
    assert_eq!(door.admission.hosts.len(), 0);
}

/// A host that takes all connections through a proxy shuts out neither the others behind that proxy nor
/// those beside it.
#[test]
fn one_behind_a_proxy_is_let_in_where_a_new_host_is() {
    let mut door = Door::new(10, 100, 100);
    let mut enter = |number| {
        let admitted = door.admit(Newcomer::Proxied)?;
        door.admission.handshake_done(admitted.place);
        door.admission.set_host(admitted.place, host(number))?;
        if let Some(place) = admitted.makes_room {
            door.admission.remove(place);
        }
        let counts = [1, 2, 3].map(|number| door.admission.hosts.count(host(number).unwrap()));
        Ok::<_, ConnectionLimit>(counts)
    };
    for _ in 0..10 {
        enter(1).unwrap();
    }
    assert_eq!(enter(1), Ok([10, 0, 0]));
    assert_eq!(enter(2), Ok([9, 1, 0]));
    assert_eq!(enter(2), Ok([8, 2, 0]));
    // Those of the busiest host go on to take only its own places.
    assert_eq!(enter(1), Ok([8, 2, 0]));
    for _ in 0..4 {
        enter(3).unwrap();
    }
    // Of two hosts that are as busy, one may take a single place of the other.
    assert_eq!(enter(1), Ok([5, 2, 3]));
    assert_eq!(enter(1), Ok([5, 2, 3]));
}

/// It makes room for another before its header has come.
#[test]
fn one_that_makes_room_counts_for_no_host() {
    let mut door = Door::new(2, 100, 100);
    let place = door.admit(host(1)).unwrap().place;
    door.open(host(1));
    assert_eq!(door.admit(host(2)).unwrap().makes_room, Some(place));
    assert_eq!(door.admission.set_host(place, host(3)), Ok(()));
    assert_eq!(door.admission.hosts.count(host(3).unwrap()), 0);
}

/// After any events in any order, counts stay right, limits hold, and nothing is left behind.
#[test]
fn counts_are_right_after_anything() {
    let mut door = Door::new(20, 5, 8);
    let (mut random, mut places) = (7_u64, Vec::new());
    for _ in 0..50_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (choice, number) = ((random >> 33) as u32 % 9, (random >> 40) as usize);
        let any = (!places.is_empty()).then(|| number % places.len());
        let place = any.map(|index| places[index]);
        match (choice, place) {
            (0..=2, _) => {
                let from = (number % 7) as u32;
                let from = if from == 0 { None } else { host(from) };
                places.extend(door.admit(from).map(|admitted| admitted.place));
            }
            (7, _) => {
                let admitted = door.admit(Newcomer::Proxied);
                if let Ok(AdmissionResult { place, .. }) = admitted {
                    match door.admission.set_host(place, host((number % 7) as u32)) {
                        Ok(()) => places.push(place),
                        Err(_) => door.admission.remove(place),
                    }
                }
            }
            (3, Some(place)) => drop(door.admission.is_silent(place)),
            (4, Some(place)) => door.admission.handshake_done(place),
            (5, Some(place)) => drop(door.admission.has_spoken(place)),
            (6, Some(place)) => door.called(place),
            (_, Some(place)) => {
                door.admission.remove(place);
                places.retain(|other| *other != place);
            }
            _ => {}
        }
        assert!(door.admission.count() <= 20);
        let (here, all) = (
            door.admission.handshakes(),
            door.admission.connections.len(),
        );
        assert!(here <= 5 + MAX_LEAVING.min(all), "{here} of {all}");
        assert_eq!(door.admission.connections.len(), places.len());
        let hosts = (1..7).map(|number| door.admission.hosts.count(host(number).unwrap()));
        assert!(hosts.max() <= Some(8));
    }
    for place in places {
        door.admission.remove(place);
        door.admission.remove(place);
    }
    let admission = door.admission;
    assert!(admission.connections.is_empty() && admission.hosts.busiest().is_none());
    assert!(admission.fresh.is_empty() && admission.silent.is_empty());
    assert_eq!(
        (admission.asked, admission.leaving, admission.hosts.len()),
        (0, 0, 0)
    );
}
