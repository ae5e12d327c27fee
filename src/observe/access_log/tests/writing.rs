//! The queue and the thread that writes.

use std::{
    io::ErrorKind,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use wawo_protocol::Code;

use super::{
    Call, LONG, end,
    json::Json,
    sink::{
        Gate,
        Outcome::{Fails, Panics, Takes},
        Page, Script, watched,
    },
};
use crate::{
    metrics::Metrics,
    observe::{
        CallSide,
        access_log::{
            AccessLog, PENDING_BYTES,
            line::Form,
            queue::{Batch, LineQueue},
            writer::{self, LogWriter},
        },
    },
};

fn end_calls(log: &AccessLog, calls: usize) {
    let call = Call::new(CallSide::Server);
    for _ in 0..calls {
        call.end(log, &end(Code::Ok, ""));
    }
}

/// The numbers of lines that a log says were dropped.
fn reports(lines: &[String]) -> Vec<u64> {
    let dropped = lines.iter().filter(|line| line.contains("dropped"));
    let number = |line: &String| match Json::parse(line) {
        json if json.get("side").is_some() => panic!("{line}"),
        json => match json.get("dropped") {
            Some(Json::Number(number)) => {
                assert_eq!(json.text("text"), format!("{number} lines were dropped"));
                *number
            }
            other => panic!("{other:?}"),
        },
    };
    dropped.map(number).collect()
}

#[test]
fn a_writer_that_waits_holds_up_no_call_and_lines_beyond_the_limit_are_dropped() {
    let gate = Gate::default();
    let log = AccessLog::json(gate.clone()).max_pending_bytes(0);
    end_calls(&log, 1);
    gate.wait_for_write();
    // The batch that is being written counts too.
    end_calls(&log, 10_000);
    let dropped = log.dropped();
    assert!((1..10_000).contains(&dropped), "{dropped}");
    assert!(!log.flush(Duration::ZERO));
    gate.open();
    assert!(log.flush(LONG));
    let lines = gate.page.lines();
    assert_eq!(lines.len() as u64, 10_001 - dropped + 1);
    assert_eq!(reports(&lines), [dropped]);
    let calls = gate.page.text().len() - lines.last().unwrap().len() - 1;
    let (least, most) = (*PENDING_BYTES.start() - 1_000, *PENDING_BYTES.start());
    assert!((least..=most).contains(&calls), "{calls} bytes");
    // There is room again, and lines are reported once.
    end_calls(&log, 1);
    assert!(log.flush(LONG));
    assert_eq!(reports(&gate.page.lines()), [dropped]);
    assert_eq!(gate.page.lines().len(), lines.len() + 1);
}

#[test]
fn the_limit_of_the_queue_has_a_range() {
    let of = |bytes| {
        AccessLog::json(Page::default())
            .max_pending_bytes(bytes)
            .max_pending_bytes
    };
    assert_eq!((of(0), of(65_536), of(65_537)), (65_536, 65_536, 65_537));
    assert_eq!((of(1 << 30), of(usize::MAX)), (1 << 30, 1 << 30));
}

#[test]
fn the_drop_of_the_last_handle_writes_all() {
    let page = Page::default();
    let (sink, wait_for_drop) = watched(page.clone());
    let log = AccessLog::json(sink);
    let clone = log.clone();
    end_calls(&log, 3);
    drop(log);
    end_calls(&clone, 2_000);
    drop(clone);
    wait_for_drop();
    assert_eq!(page.lines().len(), 2_003);
}

#[test]
fn a_flush_waits_for_the_lines_of_all_threads_and_needs_no_line() {
    let page = Page::default();
    let log = AccessLog::json(page.clone());
    assert!(log.flush(Duration::ZERO));
    for round in 1..=20 {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| end_calls(&log, 50));
            }
        });
        assert!(log.flush(Duration::MAX));
        assert_eq!(page.lines().len(), round * 200);
        assert!(log.flush(Duration::ZERO));
    }
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_line_is_written_though_nobody_flushes() {
    let gate = Gate::default();
    let log = AccessLog::json(gate.clone());
    gate.open();
    end_calls(&log, 1);
    gate.wait_for_write();
}

#[test]
fn the_drop_does_not_wait_for_ever() {
    let gate = Gate::default();
    let queue = Arc::new(LineQueue::new(Box::new(gate.clone())));
    let push = || {
        let start = || writer::start(&queue, Form::Json);
        queue.push(b"line\n", 100, start);
    };
    push();
    gate.wait_for_write();
    push();
    queue.close(Duration::from_millis(1));
    gate.open();
    queue.close(LONG);
    assert_eq!(gate.page.text(), "line\nline\n");
}

#[test]
fn lines_wait_for_a_thread_that_cannot_be_started() {
    let page = Page::default();
    let queue = Arc::new(LineQueue::new(Box::new(page.clone())));
    queue.push(b"one\n", 8, || false);
    // It is not tried again at once.
    queue.push(b"two\n", 8, || panic!("tried again"));
    queue.push(b"three\n", 8, || panic!("tried again"));
    assert_eq!(queue.dropped(), 1);
    assert!(!queue.flush(Duration::ZERO));
    queue.close(LONG);
    assert_eq!(page.text(), "");
}

fn batch(lines: &[&str], unreported: u64) -> Batch {
    Batch {
        bytes: lines.concat().into_bytes(),
        lines: lines.len() as u64,
        unreported,
    }
}

#[test]
fn a_failed_write_loses_lines_and_later_ones_begin_a_new_line() {
    let script = Script::default();
    let mut writer = LogWriter::new(Box::new(script.clone()), Form::Json);
    let mut write = |outcomes: Vec<_>, lines: &[&str]| {
        script.add(outcomes);
        writer.write(&mut batch(lines, 0))
    };
    assert_eq!(write(vec![], &["a\n", "b\n"]), 0);
    // A write of a part, and one that was interrupted, are no failures.
    let parts = vec![Takes(1), Fails(ErrorKind::Interrupted), Takes(2)];
    assert_eq!(write(parts, &["c\n", "d\n"]), 0);
    assert_eq!(
        write(vec![Fails(ErrorKind::BrokenPipe)], &["e\n", "f\n"]),
        2
    );
    let torn = vec![Takes(5), Fails(ErrorKind::StorageFull)];
    assert_eq!(write(torn, &["g\n", "hij\n", "k\n"]), 2);
    assert_eq!(write(vec![Fails(ErrorKind::StorageFull)], &["l\n"]), 1);
    assert_eq!(write(vec![Takes(1), Takes(0)], &["m\n"]), 1);
    assert_eq!(write(vec![Panics], &["n\n"]), 1);
    assert_eq!(write(vec![], &["o\n"]), 0);
    assert_eq!(script.page.text(), "a\nb\nc\nd\ng\nhij\no\n");
}

#[test]
fn dropped_lines_are_reported_when_the_writer_works_again() {
    let script = Script::default();
    let (sink, wait_for_drop) = watched(script.clone());
    let log = AccessLog::json(sink);
    let end_one = |outcomes: Vec<_>| {
        script.add(outcomes);
        end_calls(&log, 1);
        assert!(log.flush(LONG));
        (log.dropped(), script.page.lines().len())
    };
    assert_eq!(end_one(vec![]), (0, 1));
    assert_eq!(end_one(vec![Fails(ErrorKind::BrokenPipe)]), (1, 1));
    assert_eq!(end_one(vec![Panics]), (2, 1));
    // The line is written, but not the report, which comes later.
    let no_report = vec![Takes(1_000), Fails(ErrorKind::StorageFull)];
    assert_eq!(end_one(no_report), (2, 2));
    assert_eq!(end_one(vec![]), (2, 4));
    assert_eq!(reports(&script.page.lines()), [2]);
    script.add([Fails(ErrorKind::StorageFull)]);
    end_calls(&log, 1);
    drop(log);
    wait_for_drop();
    // The drop tries to report the last lines.
    assert_eq!(reports(&script.page.lines()), [2, 1]);
}

#[test]
fn metrics_count_lines_that_the_queue_or_the_writer_dropped() {
    let metrics = Metrics::new();
    let counted = || metrics.to_prometheus();
    let queue = Arc::new(LineQueue::new(Box::new(Page::default())));
    queue.push(b"too long\n", 8, || false);
    queue.set_metrics(&metrics);
    assert!(counted().contains("wawo_log_dropped_total 0\n"));
    queue.push(b"too long\n", 8, || false);
    assert!(counted().contains("wawo_log_dropped_total 1\n"));
    let script = Script::default();
    script.add([Fails(ErrorKind::BrokenPipe)]);
    let log = AccessLog::json(script).count_dropped_in(&metrics);
    end_calls(&log, 1);
    assert!(log.flush(LONG));
    assert!(counted().contains("wawo_log_dropped_total 2\n"));
}

#[test]
fn the_report_of_the_text_form_is_a_line_of_its_own() {
    let page = Page::default();
    let mut writer = LogWriter::new(Box::new(page.clone()), Form::Text);
    let before = SystemTime::now();
    assert_eq!(writer.write(&mut batch(&["a\n"], 3)), 0);
    let lines = page.lines();
    assert_eq!(lines[0], "a");
    let (time, report) = lines[1].split_once(' ').unwrap();
    assert_eq!(report, "dropped=3 text=\"3 lines were dropped\"");
    let mut least = Vec::new();
    crate::observe::access_log::timestamp::push(&mut least, before);
    assert!(time.as_bytes() >= &*least, "{time}");
}
