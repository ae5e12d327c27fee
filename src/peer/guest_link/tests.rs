//! Tests of a guest's life: its calls, its drain, its end, and calls to it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::poll_immediate;
use wawo_protocol::{CloseCode, Code, Config, ConnectionError, MessageBytes, MethodId, ServiceId};

use super::{GuestControl, GuestInfo, GuestLink};
use crate::{
    body::Body,
    call_target::CallTarget,
    connection::{DRAINED, GRACE_OVER},
    descriptor::{Idempotency, MethodDescriptor, MethodTexts, Shape},
    peer::{EventSender, Peer, PeerEvent},
    request::Request,
    serve::inbound::Origin,
    status::{Delivery, Result},
    transport::Address,
};

/// A machinery of a guest that records the requests made to it.
#[derive(Debug, Default)]
struct Machinery(Mutex<Vec<String>>);

impl GuestControl for Machinery {
    fn drain(&self) {
        self.0.lock().unwrap().push("drain".to_owned());
    }

    fn close(&self, code: CloseCode, reason: &str) {
        self.0.lock().unwrap().push(format!("{code}: {reason}"));
    }

    fn done(&self) {}
}

impl Machinery {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The smallest `max_calls` that a configuration may have.
const MAX_CALLS: usize = 64;

struct Guest {
    link: GuestLink,
    machinery: Arc<Machinery>,
    sender: EventSender,
}

fn guest() -> Guest {
    let machinery = Arc::new(Machinery::default());
    let info = GuestInfo {
        address: Some("tcp://192.0.2.7:80".parse::<Address>().unwrap()),
        claimed_name: "ada".to_owned(),
        ..GuestInfo::new("http".into())
    };
    let config = Config::builder()
        .max_calls(MAX_CALLS as u32)
        .build()
        .unwrap();
    let (sender, control) = (EventSender::default(), Arc::downgrade(&machinery));
    let link = GuestLink::new(info, &config, None, sender.clone(), control);
    Guest {
        link,
        machinery,
        sender,
    }
}

impl Guest {
    fn peer(&self) -> Peer {
        self.link.peer()
    }

    fn call(&self) -> GuestCall {
        self.begin_call().unwrap()
    }

    fn begin_call(&self) -> Result<GuestCall> {
        let origin = self.link.origin();
        origin.begin_call()?;
        Ok(GuestCall(origin))
    }
}

/// A call of a guest in flight.
struct GuestCall(Arc<dyn Origin>);

impl Drop for GuestCall {
    fn drop(&mut self) {
        self.0.end_call();
    }
}

#[tokio::test]
async fn a_guest_has_names_and_extensions_and_cannot_be_called() {
    let guest = guest();
    let peer = guest.peer();
    assert!(!peer.is_callable());
    assert_eq!(peer.protocol(), "http");
    assert_eq!(peer.claimed_name(), "ada");
    assert_eq!(peer.address().unwrap().to_string(), "tcp://192.0.2.7:80");
    assert_eq!(
        *peer.clone().extensions().get_or_insert_with(|| 7_u8),
        *peer.extensions().get::<u8>().unwrap()
    );
    const TEXTS: &MethodTexts<&str> = &MethodTexts::new("chat.Chat/Say", "chat.Line", "chat.Line");
    static SAY: MethodDescriptor =
        MethodDescriptor::new(TEXTS, 7, 1, Shape::Unary, Idempotency::Unknown);
    let handle = peer.handle();
    for one_way in [false, true] {
        let body = Body::One(MessageBytes::default());
        let request = Request::by_id(ServiceId(1), MethodId(1), one_way, body);
        let status = handle.clone().start(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.delivery(), Delivery::NotSent);
        let text = "the peer cannot be called: it came over http";
        assert!(status.message().starts_with(text), "{status}");
        assert_eq!(status.address(), peer.address());
    }
    let reply = handle.start_plain(&SAY, MessageBytes::default());
    assert_eq!(reply.await.unwrap_err().code(), Code::Unimplemented);
}

/// The server knows a guest, and may drain it, before the guest is announced.
#[tokio::test]
async fn events_of_a_guest_begin_when_it_is_announced() {
    let guest = guest();
    let mut events = guest.sender.events();
    guest.peer().begin_drain();
    assert!(guest.peer().is_closed());
    assert!(poll_immediate(events.next()).await.is_none(), "held back");
    guest.link.announce();
    assert!(matches!(events.next().await, Some(PeerEvent::Connected(_))));
    assert!(matches!(events.next().await, Some(PeerEvent::Draining(_))));
    let ended = events.next().await;
    assert!(matches!(ended, Some(PeerEvent::Disconnected(..))));
    // One that the server did not take.
    let guest = self::guest();
    let mut events = guest.sender.events();
    drop(guest);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn calls_in_flight_are_counted_and_bounded() {
    let guest = guest();
    let peer = guest.peer();
    let activity = peer.activity_handle();
    assert!(activity.activity().last_call.is_none());
    let mut calls: Vec<_> = (0..MAX_CALLS).map(|_| guest.call()).collect();
    assert_eq!(peer.snapshot().await.calls_in, MAX_CALLS);
    assert!(activity.activity().has_calls);
    let status = guest.begin_call().err().unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("64 calls"), "{status}");
    calls.pop();
    calls.push(guest.call());
    drop(calls);
    assert_eq!(peer.snapshot().await, Default::default());
    let activity = activity.activity();
    assert!(!activity.has_calls && activity.last_call.is_some());
}

#[tokio::test]
async fn a_drain_refuses_calls_and_ends_with_the_last_one_in_flight() {
    let guest = guest();
    let peer = guest.peer();
    let mut events = peer.events();
    guest.link.announce();
    assert!(matches!(events.next().await, Some(PeerEvent::Connected(_))));
    let (first, second) = (guest.call(), guest.call());
    peer.begin_drain();
    peer.begin_drain();
    assert_eq!(guest.machinery.asked(), ["drain"]);
    peer.draining().await;
    let status = guest.begin_call().err().unwrap();
    assert_eq!(
        (status.code(), status.delivery()),
        (Code::Unavailable, Delivery::NotSent)
    );
    drop(first);
    assert!(!peer.is_closed());
    drop(second);
    assert!(peer.is_closed());
    assert_eq!(guest.machinery.asked(), [format!("normal: {DRAINED}")]);
    let report = peer.drain(Duration::ZERO).await;
    assert_eq!((report.finished, report.cut.len()), (2, 0));
    assert!(matches!(events.next().await, Some(PeerEvent::Draining(_))));
    assert!(matches!(
        events.next().await,
        Some(PeerEvent::Disconnected(_, ConnectionError::ClosedHere))
    ));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn an_idle_guest_is_drained_at_once() {
    let guest = guest();
    let report = guest.peer().drain(Duration::MAX).await;
    assert_eq!((report.peers, report.finished, report.cut.len()), (1, 0, 0));
    let drained = format!("normal: {DRAINED}");
    assert_eq!(guest.machinery.asked(), ["drain".to_owned(), drained]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_outlast_the_grace_are_cut_and_reported() {
    let guest = guest();
    let (peer, calls) = (guest.peer(), [guest.call(), guest.call()]);
    let report = peer.drain(Duration::from_secs(5)).await;
    let [cut] = &report.cut[..] else {
        panic!("{report:?}");
    };
    assert_eq!((cut.id, cut.calls), (peer.id(), 2));
    assert_eq!(cut.claimed_name, "ada");
    assert!(cut.by_peer.is_none());
    let asked = guest.machinery.asked();
    assert_eq!(asked[1..], [format!("normal: {GRACE_OVER}")]);
    // Calls that end after the peer change nothing.
    drop(calls);
    let report = peer.drain(Duration::ZERO).await;
    assert_eq!((report.finished, report.cut.len()), (0, 1));
    assert!(guest.machinery.asked().is_empty());
}

#[tokio::test]
async fn closing_the_peer_tells_the_machinery_once() {
    let guest = guest();
    guest.link.announce();
    let (peer, mut events) = (guest.peer(), guest.sender.events());
    peer.close("go away");
    peer.close("again");
    assert_eq!(guest.machinery.asked(), ["normal: go away"]);
    assert!(matches!(peer.closed().await, ConnectionError::ClosedHere));
    assert!(guest.begin_call().is_err());
    drop(guest.link);
    let event = events.next().await;
    assert!(matches!(event, Some(PeerEvent::Disconnected(_, _))));
    drop(guest.sender);
    drop(peer);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_guest_that_goes_ends_the_peer_without_asking_its_machinery() {
    let guest = guest();
    let (peer, call) = (guest.peer(), guest.call());
    let lost = ConnectionError::KeepAliveTimedOut(Duration::from_secs(1));
    guest.link.end(&lost);
    drop(guest.link);
    assert_eq!(peer.closed().await.to_string(), lost.to_string());
    assert!(guest.machinery.asked().is_empty());
    drop(call);
    assert_eq!(peer.snapshot().await, Default::default());
}

#[tokio::test]
async fn dropping_the_link_ends_the_peer_and_dropping_the_peer_does_not() {
    let guest = guest();
    drop(guest.peer());
    let weak = guest.peer().downgrade();
    let peer = weak.upgrade().unwrap();
    assert!(!peer.is_closed());
    drop(guest.link);
    assert!(peer.is_closed());
    drop(peer);
    assert!(weak.upgrade().is_none());
}

#[test]
fn callers_in_this_process_are_a_peer_whose_connection_is_over() {
    let peer = super::in_process();
    assert!(peer.is_closed() && !peer.is_callable());
    assert_eq!(peer.protocol(), "in-process");
    // The machinery was dropped, so nothing is asked of it.
    peer.begin_drain();
    peer.close("");
}
