//! Every setting at nothing, just below its least, at it, and where it has a most, above that.

use std::time::Duration;

use crate::config::{Config, ConfigError, Limits, MAX_LIMIT};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

/// Checks the defaults with one change.
fn check(change: impl FnOnce(&mut Config)) -> Result<(), String> {
    let mut config = Config::default();
    change(&mut config);
    config.check().map_err(|error| error.to_string())
}

#[test]
fn defaults_and_minimum_are_valid() {
    assert_eq!(Config::default().check(), Ok(()));
    assert_eq!(Limits::MINIMUM.check(), Ok(()));
}

#[test]
fn each_limit_has_a_least_and_a_most() {
    type Set = fn(&mut Limits) -> &mut u32;
    const KIB: u32 = 1024;
    let table: [(&str, u32, u32, Set); 8] = [
        ("max_packet_bytes", 16 * KIB, MAX_LIMIT, |limits| {
            &mut limits.max_packet_bytes
        }),
        ("max_message_bytes", 64 * KIB, MAX_LIMIT, |limits| {
            &mut limits.max_message_bytes
        }),
        ("max_metadata_bytes", 8 * KIB, MAX_LIMIT, |limits| {
            &mut limits.max_metadata_bytes
        }),
        ("max_metadata_entries", 64, 65_535, |limits| {
            &mut limits.max_metadata_entries
        }),
        ("max_calls", 64, MAX_LIMIT, |limits| &mut limits.max_calls),
        ("initial_credit_bytes", 64 * KIB, MAX_LIMIT, |limits| {
            &mut limits.initial_credit_bytes
        }),
        ("request_credit_bytes", 64 * KIB, MAX_LIMIT, |limits| {
            &mut limits.request_credit_bytes
        }),
        ("reply_credit_bytes", 64 * KIB, MAX_LIMIT, |limits| {
            &mut limits.reply_credit_bytes
        }),
    ];
    for (name, least, most, of) in table {
        let set = |value| {
            check(|config| {
                // Room for the largest of the settings that depend on others.
                config.max_opening_bytes = usize::MAX;
                if name == "max_metadata_bytes" && value > least {
                    config.limits.max_packet_bytes = MAX_LIMIT;
                }
                *of(&mut config.limits) = value;
            })
        };
        for wrong in [0, least - 1, most + 1, u32::MAX] {
            let text = format!("{name} is {wrong}; it must be from {least} to {most}");
            assert_eq!(set(wrong), Err(text));
        }
        let most = match name {
            "max_metadata_bytes" => MAX_LIMIT - 64,
            _ => most,
        };
        for right in [least, most] {
            assert_eq!(set(right), Ok(()), "{name} {right}");
        }
    }
}

#[test]
fn each_time_has_a_least() {
    type Set = fn(&mut Config, Duration);
    let no_deadline = ", or None for calls without a deadline";
    let table: [(&str, Duration, &str, Set); 10] = [
        ("default_timeout", MILLI, no_deadline, |config, time| {
            config.default_timeout = Some(time)
        }),
        ("stream_timeout", MILLI, no_deadline, |config, time| {
            config.stream_timeout = Some(time)
        }),
        (
            "max_stream_time",
            MILLI,
            ", or None for no limit",
            |config, time| {
                config.max_stream_time = Some(time);
            },
        ),
        (
            "max_timeout",
            MILLI,
            ", or None for no limit",
            |config, time| {
                config.max_timeout = Some(time);
            },
        ),
        ("handshake_timeout", MILLI, "", |config, time| {
            config.handshake_timeout = time
        }),
        ("keep_alive_interval", SECOND, "", |config, time| {
            config.keep_alive_interval = time
        }),
        ("keep_alive_timeout", MILLI, "", |config, time| {
            config.keep_alive_timeout = time
        }),
        ("packet_timeout", MILLI, "", |config, time| {
            config.packet_timeout = time
        }),
        ("write_timeout", MILLI, "", |config, time| {
            config.write_timeout = time
        }),
        ("stall_timeout", MILLI, "", |config, time| {
            config.stall_timeout = time
        }),
    ];
    for (name, least, or, set) in table {
        for wrong in [Duration::ZERO, least - NANO] {
            let text = format!("{name} is {wrong:?}; it must be at least {least:?}{or}");
            assert_eq!(check(|config| set(config, wrong)), Err(text));
        }
        for right in [least, Duration::MAX] {
            assert_eq!(
                check(|config| set(config, right)),
                Ok(()),
                "{name} {right:?}"
            );
        }
    }
    let none = |config: &mut Config| (config.default_timeout, config.max_timeout) = (None, None);
    assert_eq!(check(none), Ok(()));
}

#[test]
fn each_count_that_a_peer_may_rely_on_has_a_least() {
    type Set = fn(&mut Config, u32);
    let table: [(&str, u32, Set); 8] = [
        ("max_cancels_per_second", 1_000, |config, count| {
            config.max_cancels_per_second = count
        }),
        ("max_early_pings", 3, |config, count| {
            config.max_early_pings = count
        }),
        ("max_idle_packets", 1_000, |config, count| {
            config.max_idle_packets = count
        }),
        ("max_small_chunks", 100, |config, count| {
            config.max_small_chunks = count
        }),
        ("max_waiting_calls", 2, |config, count| {
            config.max_waiting_calls = count as usize
        }),
        ("max_decoded_bytes", 16_384, |config, count| {
            config.max_decoded_bytes = count as usize;
            // It is at least as large, or that is told.
            config.max_connection_decoded_bytes = usize::MAX;
        }),
        ("max_connection_decoded_bytes", 16_384, |config, count| {
            config.max_decoded_bytes = 16_384;
            config.max_connection_decoded_bytes = count as usize;
        }),
        ("max_waiting_reply_bytes", 16_384, |config, count| {
            config.max_waiting_reply_bytes = count as usize
        }),
    ];
    for (name, least, set) in table {
        for wrong in [0, least - 1] {
            let text = format!("{name} is {wrong}; it must be at least {least}");
            assert_eq!(check(|config| set(config, wrong)), Err(text));
        }
        for right in [least, u32::MAX] {
            assert_eq!(check(|config| set(config, right)), Ok(()), "{name} {right}");
        }
    }
}

/// They say "none of these", and the rest goes on.
#[test]
fn streams_and_nested_calls_may_be_forbidden() {
    assert_eq!(check(|config| config.max_streams = 0), Ok(()));
    assert_eq!(check(|config| config.max_call_depth = 0), Ok(()));
}

#[test]
fn the_largest_call_must_fit_into_what_calls_may_begin_with() {
    let at = |opening| {
        check(|config| {
            config.limits.max_message_bytes = 1_000_000;
            config.limits.max_metadata_bytes = 10_000;
            config.max_opening_bytes = opening;
        })
    };
    assert_eq!(at(1_010_000), Ok(()));
    for wrong in [0, 1_009_999] {
        let text = format!(
            "max_opening_bytes is {wrong}; with max_message_bytes 1000000 and max_metadata_bytes \
             10000 it must be at least 1010000"
        );
        assert_eq!(at(wrong), Err(text));
    }
}

#[test]
fn metadata_must_fit_into_a_packet() {
    let at = |bytes| {
        check(|config| {
            config.limits.max_packet_bytes = 100_000;
            config.limits.max_metadata_bytes = bytes;
        })
    };
    assert_eq!(at(99_936), Ok(()));
    let text = "max_metadata_bytes is 99937; with max_packet_bytes 100000 it may be at most 99936";
    assert_eq!(at(99_937), Err(text.to_owned()));
}

#[test]
fn identity_and_opaque_parts_are_bounded() {
    let mut config = Config {
        identity: "i".repeat(255),
        ..Config::default()
    };
    assert_eq!(config.check(), Ok(()));
    config.identity.push('i');
    assert_eq!(config.check(), Err(ConfigError::Identity(256)));
    config.identity.clear();
    config.services = vec![0; crate::hello::MAX_OPAQUE_BYTES].into();
    assert_eq!(config.check(), Ok(()));
    config.credentials = vec![0; 1].into();
    assert!(matches!(config.check(), Err(ConfigError::Opaque { .. })));
}

#[test]
fn a_message_must_not_take_more_than_its_connection() {
    let with = |connection| {
        check(|config| {
            config.max_decoded_bytes = 20_000;
            config.max_connection_decoded_bytes = connection;
        })
    };
    let text = "max_decoded_bytes is 20000; it may be at most max_connection_decoded_bytes, which is 19999";
    assert_eq!(with(19_999), Err(text.to_owned()));
    assert_eq!(with(20_000), Ok(()));
}
