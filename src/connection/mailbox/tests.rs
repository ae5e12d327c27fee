//! Tests of the mailbox: its promises to the holders of a peer, and to the driver.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use wawo_protocol::{Code, Config, ConnectionError, MessageBytes, MethodId, ServiceId};

use super::{
    Capacity, Command, MAX_BYTES, MAX_COMMANDS, Mailbox, ONE_WAY_BATCH_BYTES, PlainRequest,
    PushError, ResponseSlot,
};
use crate::{
    backstop::{SLACK, WatchTarget},
    body::Body,
    connection::mailbox::{no_room, room::LinePlace},
    request::{DefaultTimeouts, Request},
    response_future::{Canceller, ResponseFuture},
};

pub(super) fn mailbox() -> Mailbox {
    Mailbox::new(usize::MAX, Weak::<Nobody>::new())
}

pub(super) fn command() -> Command {
    Command::OneWayHandled(0)
}

#[test]
fn commands_are_bounded_and_ends_are_not_refused() {
    let mailbox = mailbox();
    for _ in 0..MAX_COMMANDS {
        mailbox.push(command(), 0).unwrap();
    }
    assert!(matches!(
        mailbox.push(command(), 0),
        Err(PushError::Full(_))
    ));
    mailbox.push_end(command());
    let mut commands = Vec::new();
    mailbox.take(&mut commands);
    assert_eq!(commands.len(), MAX_COMMANDS + 1);
    mailbox.push(command(), 0).unwrap();
}

#[test]
fn notes_gather_in_order_and_are_bounded_as_commands_are() {
    let mailbox = mailbox();
    let push = |text: &str| mailbox.push_one_way(ServiceId(1), MethodId(2), text.as_bytes());
    push("one").unwrap();
    push("two").unwrap();
    mailbox.push(command(), 0).unwrap();
    push("three").unwrap();
    let mut commands = Vec::new();
    mailbox.take(&mut commands);
    let [
        Command::OneWayBatch(two),
        Command::OneWayHandled(_),
        Command::OneWayBatch(one),
    ] = &commands[..]
    else {
        panic!("{commands:?}");
    };
    assert_eq!((two.len(), one.len()), (2, 1));

    let taken = (0..2 * MAX_COMMANDS)
        .take_while(|_| push("again").is_ok())
        .count();
    assert!(
        (MAX_COMMANDS * 9 / 10..=MAX_COMMANDS).contains(&taken),
        "{taken}"
    );
    assert!(matches!(push("again"), Err(PushError::Full(()))));
    let error = mailbox.push(command(), 0);
    assert!(matches!(error, Err(PushError::Full(_))));
    let mut commands = Vec::new();
    mailbox.take(&mut commands);
    for command in &commands {
        let Command::OneWayBatch(batch) = command else {
            panic!("{command:?}");
        };
        assert!(batch.packet_bytes() < ONE_WAY_BATCH_BYTES + 100);
    }
    push(&"x".repeat(MAX_BYTES)).unwrap();
    assert!(matches!(push("y"), Err(PushError::Full(()))));
    mailbox.close(&ConnectionError::ClosedHere, &mut Vec::new());
    assert!(matches!(push(""), Err(PushError::Closed(_))));
}

#[test]
fn bytes_are_bounded_but_one_message_of_any_size_has_room() {
    let mailbox = mailbox();
    mailbox.push(command(), MAX_BYTES + 1).unwrap();
    assert!(matches!(
        mailbox.push(command(), 1),
        Err(PushError::Full(_))
    ));
    mailbox.take(&mut Vec::new());
    mailbox.push(command(), MAX_BYTES).unwrap();
    assert!(matches!(
        mailbox.push(command(), 1),
        Err(PushError::Full(_))
    ));
}

/// Lines up a call of a service whose id tells it from other calls; returns its place and its slot.
fn line_up(mailbox: &Mailbox, id: u32, bytes: usize) -> (LinePlace<'_>, Arc<ResponseSlot>) {
    let body = Body::One(MessageBytes::default());
    let request = Request::by_id(ServiceId(id), MethodId(1), false, body);
    let slot = Arc::new(ResponseSlot::default());
    (mailbox.line_up(request, bytes, slot.clone()), slot)
}

/// The ids of the calls among the commands.
fn taken(mailbox: &Mailbox) -> Vec<u32> {
    let mut commands = Vec::new();
    mailbox.take(&mut commands);
    let id = |command: &Command| match command {
        Command::Call(request, _) | Command::OneWay(request) => Some(request.service().0),
        _ => None,
    };
    commands.iter().filter_map(id).collect()
}

fn is_full(mailbox: &Mailbox) -> bool {
    matches!(mailbox.push(command(), 0), Err(PushError::Full(_)))
}

#[test]
fn as_many_are_let_in_as_the_driver_wants_in_the_order_in_which_they_came() {
    let mailbox = mailbox();
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let waiting: Vec<_> = (0..10).map(|id| line_up(&mailbox, id, 0)).collect();
    assert_eq!(taken(&mailbox), []);
    mailbox.set_capacity(Capacity::all(3), &mut Vec::new());
    // Commands in the mailbox count against the capacity.
    mailbox.set_capacity(Capacity::all(3), &mut Vec::new());
    assert_eq!(taken(&mailbox), [0, 1, 2]);
    // A later request does not pass those in line.
    assert!(is_full(&mailbox));
    mailbox.set_capacity(Capacity::all(5), &mut Vec::new());
    assert_eq!(taken(&mailbox), [3, 4, 5, 6, 7]);
    mailbox.set_capacity(Capacity::all(5), &mut Vec::new());
    assert!(!is_full(&mailbox));
    assert_eq!(taken(&mailbox), [8, 9]);
    assert!(waiting.iter().all(|(_, slot)| !slot.is_over()));
}

#[test]
fn what_handlers_ask_for_does_not_wait_behind_what_others_do() {
    let mailbox = mailbox();
    let capacity_of = |outer, nested, nested_messages, deep| Capacity {
        outer,
        nested,
        nested_messages,
        deep,
    };
    let request = |id: u32, one_way, depth| {
        let body = Body::One(MessageBytes::default());
        let mut request = Request::by_id(ServiceId(id), MethodId(1), one_way, body);
        request.head_mut().call_depth = depth;
        request
    };
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let kinds = [
        request(0, false, 0),
        request(1, true, 0),
        request(2, true, 1),
        request(3, false, 1),
        request(4, false, 2),
        request(5, false, 16),
    ];
    let slot = || Arc::new(ResponseSlot::default());
    let places = kinds.map(|request| mailbox.line_up(request, 0, slot()));
    for (capacity, expected) in [
        (capacity_of(0, 0, 0, 9), vec![4, 5]),
        (capacity_of(0, 9, 0, 9), vec![3]),
        (capacity_of(0, 9, 9, 9), vec![2]),
        (capacity_of(9, 9, 9, 9), vec![0, 1]),
    ] {
        mailbox.set_capacity(capacity, &mut Vec::new());
        assert_eq!(taken(&mailbox), expected);
    }
    drop(places);
    mailbox.set_capacity(capacity_of(0, 1, 0, 1), &mut Vec::new());
    let push = |request| mailbox.push_call(request, 0, Command::Call);
    assert!(push(request(6, false, 2)).is_ok());
    assert!(matches!(
        push(request(7, false, 0)),
        Err(PushError::Full(_))
    ));
}

#[tokio::test]
async fn who_leaves_the_line_is_told_and_makes_room_for_the_next() {
    let mailbox = mailbox();
    mailbox.push(command(), MAX_BYTES - 10).unwrap();
    let large = line_up(&mailbox, 1, 11);
    let small = line_up(&mailbox, 2, 10);
    let none = line_up(&mailbox, 3, 1);
    large.0.leave(no_room("default_timeout, 10s"));
    assert_eq!(taken(&mailbox), [2]);
    let reply = |slot| ResponseFuture::from_slot(slot, Arc::new(Nobody));
    let status = reply(large.1).await.unwrap_err();
    assert!(status.is_safe_to_retry(), "{status}");
    // Dropping the place of a request that was admitted removes no command.
    drop(small.0);
    mailbox.set_capacity(Capacity::ANY, &mut Vec::new());
    drop(none.0);
    assert_eq!(taken(&mailbox), [3]);
    assert!(!small.1.is_over() && !none.1.is_over());
}

#[tokio::test]
async fn who_waits_hears_of_the_end() {
    let mailbox = mailbox();
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let before = line_up(&mailbox, 1, 0);
    mailbox.close(&ConnectionError::ClosedHere, &mut Vec::new());
    let after = line_up(&mailbox, 2, 0);
    for (_place, slot) in [before, after] {
        let status = ResponseFuture::from_slot(slot, Arc::new(Nobody)).await;
        let status = status.unwrap_err();
        assert!(status.message().contains("not sent"), "{status}");
    }
    assert!(matches!(
        mailbox.push(command(), 0),
        Err(PushError::Closed(_))
    ));
}

#[test]
fn a_driver_that_sleeps_is_woken_by_what_is_let_in() {
    let mailbox = mailbox();
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    mailbox.push(command(), MAX_BYTES).unwrap();
    let (large, _slot) = line_up(&mailbox, 1, 1);
    let (_small, _slot) = line_up(&mailbox, 2, 0);
    mailbox.lock().driver = Some(waker);
    assert!(!flag.0.load(Ordering::Relaxed));
    drop(large);
    assert!(flag.0.load(Ordering::Relaxed));
}

/// Takes a place for a caller that will make a call at a depth.
fn await_room(mailbox: &Mailbox, call_depth: u32) -> (u64, Arc<Flag>) {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    (mailbox.line_up_for_room(call_depth, &waker), flag)
}

fn is_woken(flag: &Arc<Flag>) -> bool {
    flag.0.swap(false, Ordering::Relaxed)
}

#[test]
fn a_caller_is_woken_in_its_turn_and_reserves_nothing() {
    let mailbox = mailbox();
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let first = line_up(&mailbox, 1, 0);
    let (number, caller) = await_room(&mailbox, 0);
    let second = line_up(&mailbox, 2, 0);
    assert!(!mailbox.has_room(0).unwrap());
    let allow = |calls| {
        let mut wakers = Vec::new();
        mailbox.set_capacity(Capacity::all(calls), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    };
    allow(1);
    assert_eq!(taken(&mailbox), [1]);
    assert!(!is_woken(&caller), "there is no room behind the first");
    allow(1);
    assert_eq!(taken(&mailbox), [2], "the caller took no room");
    assert!(is_woken(&caller));
    assert!(!mailbox.waits_for_room(number, Waker::noop()));
    mailbox.leave_room_line(number);
    assert!(mailbox.has_room(0).unwrap());
    drop((first, second));
}

#[test]
fn a_caller_that_finds_room_or_the_end_is_woken_at_once() {
    let mailbox = mailbox();
    let (number, caller) = await_room(&mailbox, 0);
    assert!(is_woken(&caller) && !mailbox.waits_for_room(number, Waker::noop()));
    mailbox.push(command(), MAX_BYTES).unwrap();
    let (number, caller) = await_room(&mailbox, 0);
    assert!(!is_woken(&caller) && mailbox.waits_for_room(number, &caller.clone().into()));
    let mut wakers = Vec::new();
    mailbox.close(&ConnectionError::ClosedHere, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    assert!(is_woken(&caller) && !mailbox.waits_for_room(number, Waker::noop()));
    assert!(mailbox.has_room(0).is_err());
    let (number, caller) = await_room(&mailbox, 0);
    assert!(is_woken(&caller));
    mailbox.leave_room_line(number);
}

#[test]
fn a_drain_of_the_other_side_wakes_callers_and_leaves_requests_in_their_lines() {
    let mailbox = mailbox();
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let callers = [0, 1].map(|depth| await_room(&mailbox, depth));
    let request = line_up(&mailbox, 1, 0);
    mailbox.drain_there();
    for (number, caller) in &callers {
        assert!(is_woken(caller) && !mailbox.waits_for_room(*number, Waker::noop()));
        mailbox.leave_room_line(*number);
    }
    assert!(mailbox.has_room(0).is_err());
    let (_, late) = await_room(&mailbox, 0);
    assert!(is_woken(&late));
    mailbox.set_capacity(Capacity::all(1), &mut Vec::new());
    assert_eq!(taken(&mailbox), [1]);
    drop(request);
    assert!(mailbox.lock().lines.is_empty());
}

#[test]
fn the_last_waker_of_a_caller_is_woken_and_one_that_left_is_not() {
    let mailbox = mailbox();
    mailbox.push(command(), MAX_BYTES).unwrap();
    let (number, before) = await_room(&mailbox, 0);
    let (gone, other) = await_room(&mailbox, 0);
    let after = Arc::new(Flag::default());
    assert!(mailbox.waits_for_room(number, &after.clone().into()));
    mailbox.leave_room_line(gone);
    let mut wakers = Vec::new();
    mailbox.take(&mut Vec::new());
    mailbox.set_capacity(Capacity::ANY, &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(
        [&before, &other, &after].map(is_woken),
        [false, false, true]
    );
    assert_eq!(
        (Arc::strong_count(&before), Arc::strong_count(&other)),
        (1, 1)
    );
}

#[test]
fn a_caller_in_a_handler_waits_for_room_of_its_depth() {
    let mailbox = mailbox();
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let callers = [0, 1, 2].map(|depth| await_room(&mailbox, depth));
    let woken = || callers.each_ref().map(|(_, flag)| is_woken(flag));
    for (capacity, expected) in [
        (
            Capacity {
                deep: 1,
                ..Capacity::NONE
            },
            [false, false, true],
        ),
        (
            Capacity {
                nested_messages: 1,
                ..Capacity::NONE
            },
            [false, true, false],
        ),
        (
            Capacity {
                outer: 1,
                ..Capacity::NONE
            },
            [true, false, false],
        ),
    ] {
        let mut wakers = Vec::new();
        mailbox.set_capacity(capacity, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(woken(), expected);
    }
    // The caller in two lines has left both.
    mailbox.set_capacity(Capacity::ANY, &mut Vec::new());
    assert_eq!(woken(), [false; 3]);
    assert!(mailbox.lock().lines.is_empty());
}

/// Asserts that looking at the mailbox ends a call that the driver did not take, with a status that names
/// `setting`.
async fn overdue(mailbox: &Mailbox, slot: Arc<ResponseSlot>, setting: &str) {
    let reply = ResponseFuture::from_slot(slot, Arc::new(Nobody));
    let status = reply.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let text = "the deadline passed while the call waited for the connection to take it";
    assert_eq!(status.message(), format!("{text} ({setting})"));
    assert!(status.is_safe_to_retry(), "{status}");
    assert!(mailbox.closed().is_none());
}

#[tokio::test]
async fn a_call_that_no_driver_takes_ends_in_the_mailbox_and_in_the_line() {
    let mailbox = mailbox();
    let config = Config::builder()
        .default_timeout(Some(Duration::from_secs(1)))
        .build()
        .unwrap();
    let (now, timeouts) = (Instant::now(), &DefaultTimeouts::new(&config));
    let call = PlainRequest {
        service: ServiceId(1),
        method: MethodId(1),
        message: MessageBytes::default(),
        is_stream: false,
    };
    let plain = mailbox.push_call(call, 0, Command::PlainCall).unwrap();
    mailbox.set_capacity(Capacity::NONE, &mut Vec::new());
    let (place, lined_up) = line_up(&mailbox, 2, 0);
    place.set_deadline(now + Duration::from_secs(1));
    let mut wakers = Vec::new();
    let next = now + Duration::from_secs(1) + SLACK;
    assert_eq!(mailbox.look(Some(now), timeouts, &mut wakers), Some(next));
    // The backstop knows already when to look.
    let early = now + Duration::from_millis(500);
    assert_eq!(mailbox.look(Some(early), timeouts, &mut wakers), None);
    assert!(!plain.is_over() && !lined_up.is_over());
    // With a clock that is not real, nothing ends.
    assert_eq!(mailbox.look(None, timeouts, &mut wakers), None);
    assert_eq!(mailbox.look(Some(next), timeouts, &mut wakers), None);
    overdue(&mailbox, plain, "default_timeout, 1s").await;
    overdue(&mailbox, lined_up, "timeout of the call").await;
    drop(place);
}

#[test]
fn a_look_is_asked_for_once_until_it_comes() {
    let mailbox = mailbox();
    assert!(!mailbox.lock().watch.is_asked);
    let body = Body::One(MessageBytes::default());
    let request = Request::by_id(ServiceId(1), MethodId(1), false, body);
    mailbox.push_call(request, 0, Command::Call).unwrap();
    assert!(mailbox.lock().watch.is_asked);
    let timeouts = DefaultTimeouts::new(&Config::default());
    mailbox.look(Some(Instant::now()), &timeouts, &mut Vec::new());
    assert!(!mailbox.lock().watch.is_asked);
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Nobody;

impl WatchTarget for Nobody {
    fn look(&self, _: &mut Vec<Waker>) -> Option<Instant> {
        None
    }
}

impl Canceller for Nobody {
    fn cancel(&self, _: &Arc<ResponseSlot>) {}
}
