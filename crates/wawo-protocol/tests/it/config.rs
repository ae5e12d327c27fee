//! Each setting at its bounds and beyond them, settings that do not agree, settings by their names
//! and from variables.

use std::time::Duration;

use wawo_protocol::{Config, ConfigBuilder, ConfigError, Connection, Limits, MAX_LIMIT};

use crate::pair::beginning;

/// The defaults, except that settings which bound the named one leave it all of its values.
fn roomy(name: &str) -> ConfigBuilder {
    let builder = Config::builder().max_opening_bytes(usize::MAX);
    match name {
        "max_metadata_bytes" => builder.max_packet_bytes(MAX_LIMIT),
        "max_decoded_bytes" => builder.max_connection_decoded_bytes(usize::MAX),
        "max_connection_decoded_bytes" => builder.max_decoded_bytes(16 * 1024),
        "max_opening_bytes" => builder.limits(Limits::MINIMUM),
        _ => builder,
    }
}

/// The text of the error of setting and building.
fn error(builder: ConfigBuilder, name: &str, text: &str) -> Option<String> {
    let config = builder.set(name, text).and_then(ConfigBuilder::build);
    config.err().map(|error| error.to_string())
}

#[test]
fn defaults_and_minimum_are_right() {
    let config = Config::builder().build().unwrap();
    assert_eq!(*config.limits(), Limits::default());
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    assert!(Config::builder().limits(Limits::MINIMUM).build().is_ok());
}

/// Without the names, so that the table stands beside it: the greatest value below the range, the
/// least and the greatest value in it, the least above it, and the range in the error.
#[rustfmt::skip]
const RANGES: [(&str, [&str; 4], &str); 31] = [
    ("max_packet_bytes", ["16383", "16KiB", "1GiB", "1073741825"], "from 16384 to 1073741824"),
    ("max_message_bytes", ["65535", "64KiB", "1GiB", "1073741825"], "from 65536 to 1073741824"),
    ("max_metadata_bytes", ["8191", "8KiB", "1073741760", "1073741825"], "from 8192 to 1073741824"),
    ("max_metadata_entries", ["63", "64", "65535", "65536"], "from 64 to 65535"),
    ("max_calls", ["63", "64", "1073741824", "1073741825"], "from 64 to 1073741824"),
    ("initial_credit_bytes", ["65535", "64KiB", "1GiB", "1073741825"], "from 65536 to 1073741824"),
    ("request_credit_bytes", ["65535", "64KiB", "1GiB", "1073741825"], "from 65536 to 1073741824"),
    ("reply_credit_bytes", ["65535", "64KiB", "1GiB", "1073741825"], "from 65536 to 1073741824"),
    ("default_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms, or none for calls without a deadline"),
    ("stream_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms, or none for calls without a deadline"),
    ("connect_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms"),
    ("handshake_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms"),
    ("keep_alive_interval", ["999ms", "1s", "never", CENTURIES], "at least 1s"),
    ("max_keep_alive_interval", ["999ms", "1s", "never", CENTURIES], "at least 1s"),
    ("keep_alive_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms"),
    ("packet_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms"),
    ("write_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms"),
    ("stall_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms"),
    ("max_timeout", ["0ms", "1ms", "never", CENTURIES], "at least 1ms, or none for no limit"),
    ("max_stream_time", ["0ms", "1ms", "never", CENTURIES], "at least 1ms, or none for no limit"),
    ("max_streams", ["", "0", MAX_USIZE, LARGE], "at least 0"),
    ("max_opening_bytes", ["73727", "72KiB", MAX_USIZE, LARGE], "at least 73728"),
    ("max_decoded_bytes", ["16383", "16KiB", MAX_USIZE, LARGE], "at least 16384"),
    ("max_connection_decoded_bytes", ["16383", "16KiB", MAX_USIZE, LARGE], "at least 16384"),
    ("max_waiting_reply_bytes", ["16383", "16KiB", MAX_USIZE, LARGE], "at least 16384"),
    ("max_cancels_per_second", ["999", "1000", "4294967295", "4294967296"], "at least 1000"),
    ("max_early_pings", ["2", "3", "4294967295", "4294967296"], "at least 3"),
    ("max_idle_packets", ["999", "1000", "4294967295", "4294967296"], "at least 1000"),
    ("max_small_chunks", ["99", "100", "4294967295", "4294967296"], "at least 100"),
    ("max_call_depth", ["", "0", "4294967295", "4294967296"], "at least 0"),
    ("max_waiting_calls", ["1", "2", MAX_USIZE, LARGE], "at least 2"),
];

/// More than the longest time: 2^64 seconds.
const CENTURIES: &str = "18446744073709551616s";
/// One more than fits into 64 bits.
const LARGE: &str = "18446744073709551616";
/// The greatest size on the machine that runs the test.
const MAX_USIZE: &str = match usize::BITS {
    32 => "4294967295",
    _ => "18446744073709551615",
};

#[test]
fn each_setting_is_held_to_its_range() {
    for (name, [below, least, most, above], range) in RANGES {
        for right in [least, most] {
            assert_eq!(error(roomy(name), name, right), None, "{name} {right}");
        }
        for wrong in [below, above].into_iter().filter(|wrong| !wrong.is_empty()) {
            let text = format!("{name} is {wrong}; it must be {range}");
            assert_eq!(error(roomy(name), name, wrong), Some(text));
        }
        let can_be_none = error(roomy(name), name, "none").is_none();
        assert_eq!(can_be_none, range.contains("or none"), "{name}");
    }
    let names = RANGES.map(|(name, ..)| name);
    let settings: Vec<_> = Config::settings().map(|setting| setting.name).collect();
    assert_eq!(settings, names);
}

#[test]
fn settings_of_code_are_held_to_their_ranges_too() {
    let text = |builder: ConfigBuilder| builder.build().unwrap_err().to_string();
    let calls = Config::builder().max_calls(MAX_LIMIT + 1);
    let expected = "max_calls is 1073741825; it must be from 64 to 1073741824";
    assert_eq!(text(calls), expected);
    let time = Config::builder().keep_alive_interval(Duration::from_secs(1) - NANO);
    let expected = "keep_alive_interval is 999.999999ms; it must be at least 1s";
    assert_eq!(text(time), expected);
    let time = Config::builder().default_timeout(Some(Duration::from_millis(1) - NANO));
    let expected = "default_timeout is 999.999µs; it must be at least 1ms, \
                    or none for calls without a deadline";
    assert_eq!(text(time), expected);
    assert!(Config::builder().default_timeout(None).build().is_ok());
}

const NANO: Duration = Duration::from_nanos(1);

#[test]
fn the_list_of_settings_says_their_defaults_and_ranges() {
    let defaults = format!("{:?}", Config::default());
    for setting in Config::settings() {
        let builder = Config::builder().set(setting.name, setting.default);
        let config = builder.and_then(ConfigBuilder::build).unwrap();
        assert_eq!(format!("{config:?}"), defaults, "{}", setting.name);
    }
    let find = |name| Config::settings().find(|setting| setting.name == name);
    let packet = find("max_packet_bytes").unwrap();
    assert_eq!(
        (packet.default, packet.range),
        ("128 KiB", "16 KiB to 1 GiB")
    );
    let time = find("max_timeout").unwrap();
    assert_eq!(
        (time.default, time.range),
        ("none", "at least 1 ms, or none")
    );
}

#[test]
fn the_largest_call_must_fit_into_what_calls_may_begin_with() {
    let at = |opening| {
        let builder = Config::builder().max_message_bytes(1_000_000);
        let builder = builder
            .max_metadata_bytes(10_000)
            .max_opening_bytes(opening);
        builder.build().err().map(|error| error.to_string())
    };
    assert_eq!(at(1_010_000), None);
    for wrong in [73_728, 1_009_999] {
        let text = format!(
            "max_opening_bytes is {wrong}; with max_message_bytes 1000000 and max_metadata_bytes \
             10000 it must be at least 1010000"
        );
        assert_eq!(at(wrong), Some(text));
    }
}

#[test]
fn metadata_must_fit_into_a_packet() {
    let builder = || Config::builder().max_packet_bytes(100_000);
    assert_eq!(error(builder(), "max_metadata_bytes", "99936"), None);
    let text = "max_metadata_bytes is 99937; with max_packet_bytes 100000 it may be at most 99936";
    let error = error(builder(), "max_metadata_bytes", "99937");
    assert_eq!(error.as_deref(), Some(text));
}

#[test]
fn a_message_must_not_take_more_than_its_connection() {
    let with = |connection| {
        let builder = Config::builder().max_decoded_bytes(20_000);
        error(builder, "max_connection_decoded_bytes", connection)
    };
    assert_eq!(with("20000"), None);
    let text = "max_decoded_bytes is 20000; with max_connection_decoded_bytes 19999 it may be at \
                most 19999";
    assert_eq!(with("19999").as_deref(), Some(text));
}

#[test]
fn the_claimed_name_and_the_services_are_bounded() {
    let named = |length| Config::builder().claimed_name("i".repeat(length)).build();
    assert_eq!(named(255).unwrap().claimed_name().len(), 255);
    let text = "claimed_name has 256 bytes; it must have at most 255";
    assert_eq!(named(256).unwrap_err().to_string(), text);

    let room = 15_872;
    let services = |length| Config::default().with_services(vec![0; length].into());
    assert_eq!(services(room).unwrap().services().len(), room);
    let text = "the table of services has 15873 bytes; it must have at most 15872";
    assert_eq!(services(room + 1).unwrap_err().to_string(), text);
}

#[test]
fn credentials_have_the_room_that_the_services_leave() {
    let now = beginning();
    let name = "n".repeat(255);
    let config = Config::builder().claimed_name(name).build().unwrap();
    assert_eq!(config.max_credentials_bytes(), 15_872);
    let config = config.with_services(vec![0; 15_000].into()).unwrap();
    assert_eq!(config.max_credentials_bytes(), 872);
    let connect = |length| {
        let credentials = vec![0; length].into();
        Connection::<()>::connecting(config.clone(), credentials, now).map(drop)
    };
    assert!(connect(872).is_ok());
    let text = "credentials of 873 bytes; beside the table of services, the hello has room for 872 \
                (Config::max_credentials_bytes)";
    assert_eq!(connect(873).unwrap_err().to_string(), text);
}

#[test]
fn a_text_that_is_no_value_is_named_with_those_that_are() {
    for (name, text, expected) in [
        ("max_calls", "many", "a whole number, such as 1024"),
        ("max_calls", "1KiB", "a whole number, such as 1024"),
        ("max_calls", "", "a whole number, such as 1024"),
        (
            "max_packet_bytes",
            "64KB",
            "a number of bytes, KiB, MiB or GiB, such as 65536 or 64KiB",
        ),
        (
            "max_packet_bytes",
            "none",
            "a number of bytes, KiB, MiB or GiB, such as 65536 or 64KiB",
        ),
        (
            "packet_timeout",
            "5",
            "a time in ms, s, m or h, such as 500ms or 30s, or never",
        ),
        (
            "max_timeout",
            "5",
            "a time in ms, s, m or h, such as 500ms or 30s, or never, or none",
        ),
    ] {
        let error = error(Config::builder(), name, text);
        assert_eq!(error, Some(format!("{name} is `{text}`; write {expected}")));
    }
}

#[test]
fn an_unknown_setting_names_the_nearest_one() {
    let error = |name| error(Config::builder(), name, "1").unwrap();
    let text = "max_call is no setting; the nearest one is max_calls";
    assert_eq!(error("max_call"), text);
    let text = "claimed_nam is no setting; the nearest one is claimed_name";
    assert_eq!(error("claimed_nam"), text);
    assert_eq!(error("zzz"), "zzz is no setting", "no name is similar");
    // The table of services belongs to those who serve them.
    assert!(error("services").starts_with("services is no setting"));
}

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let builder = Config::builder().max_calls(100).claimed_name("code");
    builder.read_variables(variables.iter().copied())?.build()
}

#[test]
fn variables_replace_what_code_has_set() {
    let config = read(&[
        ("PATH", "/bin"),
        ("WAWOW", "1"),
        ("WAWO_MAX_CALLS", " 200 "),
        ("WAWO_MAX_MESSAGE_BYTES", "8MiB"),
        ("WAWO_DEFAULT_TIMEOUT", "none"),
        ("WAWO_MAX_TIMEOUT", "1 m"),
        ("WAWO_KEEP_ALIVE_INTERVAL", "never"),
        ("WAWO_SERVER_MAX_CONNECTIONS", "for others"),
    ]);
    let config = config.unwrap();
    assert_eq!(config.limits().max_calls, 200);
    assert_eq!(config.limits().max_message_bytes, 8 << 20);
    assert_eq!(config.default_timeout(), None);
    assert_eq!(config.max_timeout(), Some(Duration::from_secs(60)));
    assert_eq!(config.keep_alive_interval(), Duration::MAX);
    assert_eq!(config.claimed_name(), "code");
}

#[test]
fn a_wrong_variable_is_named_with_its_value() {
    for (key, value, text) in [
        (
            "WAWO_MAX_CALLS",
            "10",
            "WAWO_MAX_CALLS is 10; it must be from 64 to 1073741824",
        ),
        (
            "WAWO_PACKET_TIMEOUT",
            "soon",
            "WAWO_PACKET_TIMEOUT is `soon`; write a time in ms, s, m or h, such as 500ms or 30s, or \
             never",
        ),
        (
            "WAWO_PAKET_TIMEOUT",
            "1s",
            "WAWO_PAKET_TIMEOUT is no setting; the nearest one is WAWO_PACKET_TIMEOUT",
        ),
        // Systems that tell names apart by case would let one hide the other.
        (
            "WAWO_max_calls",
            "100",
            "WAWO_max_calls is no setting; the nearest one is WAWO_MAX_CALLS",
        ),
        ("WAWO_", "1", "WAWO_ is no setting"),
    ] {
        assert_eq!(read(&[(key, value)]).unwrap_err().to_string(), text);
    }
}

#[cfg(unix)]
#[test]
fn variables_that_are_no_text_are_refused_under_the_prefix_only() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    let no_text = || OsString::from_vec(b"a\xff".to_vec());
    let read = |key: OsString, value: OsString| Config::builder().read_variables([(key, value)]);
    assert!(read("OTHER".into(), no_text()).is_ok());
    assert!(read(no_text(), no_text()).is_ok());
    let error = read("WAWO_CLAIMED_NAME".into(), no_text()).unwrap_err();
    assert_eq!(error.to_string(), "WAWO_CLAIMED_NAME is not in UTF-8");
    let key = OsString::from_vec(b"WAWO_MAX_CALLS\xff".to_vec());
    let error = read(key, "1".into()).unwrap_err();
    assert!(matches!(error, ConfigError::Unknown { .. }), "{error}");
}

#[cfg(feature = "serde")]
mod file {
    use std::time::Duration;

    use serde::{
        Deserialize,
        de::value::{Error, MapDeserializer, UnitDeserializer},
    };

    use wawo_protocol::{Config, ConfigBuilder};

    fn error(text: &str) -> String {
        toml::from_str::<Config>(text)
            .expect_err("a fault")
            .to_string()
    }

    #[test]
    fn settings_are_read_from_a_file() {
        let text = "max_calls = 2000\nmax_message_bytes = \"8MiB\"\nhandshake_timeout = \"2s\"\n\
                    default_timeout = \"none\"\nclaimed_name = \"ada\"\n";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.limits().max_calls, 2000);
        assert_eq!(config.limits().max_message_bytes, 8 << 20);
        assert_eq!(config.handshake_timeout(), Duration::from_secs(2));
        assert_eq!(config.default_timeout(), None);
        assert_eq!(config.claimed_name(), "ada");
        assert_eq!(config.max_streams(), Config::default().max_streams());
        // Variables have the last word.
        let builder: ConfigBuilder = toml::from_str(text).unwrap();
        let builder = builder.read_variables([("WAWO_MAX_CALLS", "3000")]);
        assert_eq!(builder.unwrap().build().unwrap().limits().max_calls, 3000);
    }

    #[test]
    fn a_null_is_none() {
        let unit = || UnitDeserializer::<Error>::new();
        let read = |name| {
            let map = MapDeserializer::new([(name, unit())].into_iter());
            Config::deserialize(map).map_err(|error| error.to_string())
        };
        assert_eq!(read("default_timeout").unwrap().default_timeout(), None);
        let text = read("max_calls").unwrap_err();
        assert!(text.starts_with("max_calls is `none`; write"), "{text}");
    }

    #[test]
    fn faults_of_a_file_are_named() {
        for (text, fault) in [
            (
                "max_cals = 1",
                "max_cals is no setting; the nearest one is max_calls",
            ),
            (
                "max_calls = 1",
                "max_calls is 1; it must be from 64 to 1073741824",
            ),
            (
                "max_calls = -64",
                "max_calls is `-64`; write a whole number",
            ),
            ("max_calls = 64.0", "expected a whole number or a text"),
            (
                "max_calls = true",
                "max_calls is `true`; write a whole number",
            ),
            ("max_calls = [64]", "expected a whole number or a text"),
            (
                "packet_timeout = 5",
                "packet_timeout is `5`; write a time in ms",
            ),
            (
                "max_streams = \"99999999999999999999\"",
                "max_streams is 99999999999999999999; it",
            ),
            (
                "max_opening_bytes = 80000",
                "max_opening_bytes is 80000; with max_message_bytes 4194304",
            ),
        ] {
            let error = error(text);
            assert!(error.contains(fault), "{text}: {error}");
        }
        let twice = [("max_calls", 64_u64), ("max_calls", 65)];
        let map = MapDeserializer::<_, Error>::new(twice.into_iter());
        let error = ConfigBuilder::deserialize(map).unwrap_err().to_string();
        assert_eq!(error, "max_calls is set twice");
        let list = toml::from_str::<toml::Value>("a = [1]").unwrap();
        let error = Config::deserialize(list["a"].clone()).unwrap_err();
        assert!(error.to_string().contains("a map of settings"), "{error}");
    }
}
