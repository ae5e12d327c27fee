//! Tests of the settings of a server: at their bounds and beyond them, in disagreement, and from
//! variables.

use std::time::Duration;

use wawo_protocol::{Config, ConfigError};

use crate::{
    server::config::{ServerConfig, ServerConfigBuilder},
    transport::Address,
};

/// The text of the error when a setting is set and the configuration built.
fn error(name: &str, text: &str) -> Option<String> {
    let builder = ServerConfig::builder().set(name, text);
    let config = builder.and_then(ServerConfigBuilder::build);
    config.err().map(|error| error.to_string())
}

/// For each setting: the greatest value below the range, the least and the greatest in it, the least
/// above it, and the range in the error.
#[rustfmt::skip]
const RANGES: [(&str, [&str; 4], &str); 7] = [
    ("max_connections", ["0", "1", MAX_USIZE, LARGE], "at least 1"),
    ("max_handshakes", ["0", "1", MAX_USIZE, LARGE], "at least 1"),
    ("max_connections_per_host", ["0", "1", MAX_USIZE, LARGE], "at least 1, or none for a quarter of max_connections"),
    ("max_server_decoded_bytes", ["16383", "64MiB", MAX_USIZE, LARGE], "at least 16384, or none for a quarter of the memory"),
    ("workers", ["0", "1", "1024", "1025"], "from 1 to 1024, or none for the runtime of the server"),
    ("drain_grace", ["", "0s", "never", "18446744073709551616s"], "at least 0ns"),
    ("drain_spread", ["", "0s", "never", "18446744073709551616s"], "at least 0ns"),
];

/// A number that does not fit into 64 bits.
const LARGE: &str = "18446744073709551616";
/// The greatest size of this machine.
const MAX_USIZE: &str = match usize::BITS {
    32 => "4294967295",
    _ => "18446744073709551615",
};

#[test]
fn each_setting_is_held_to_its_range() {
    for (name, [below, least, most, above], range) in RANGES {
        for right in [least, most] {
            assert_eq!(error(name, right), None, "{name} {right}");
        }
        for wrong in [below, above].into_iter().filter(|wrong| !wrong.is_empty()) {
            let text = format!("{name} is {wrong}; it must be {range}");
            assert_eq!(error(name, wrong), Some(text));
        }
        assert_eq!(
            error(name, "none").is_none(),
            range.contains("or none"),
            "{name}"
        );
    }
    let names = RANGES.map(|(name, ..)| name);
    let settings: Vec<_> = ServerConfig::settings()
        .map(|setting| setting.name)
        .collect();
    assert_eq!(settings, names);
}

#[test]
fn settings_of_code_are_held_to_their_ranges_too() {
    let text = |builder: ServerConfigBuilder| builder.build().unwrap_err().to_string();
    let none = text(ServerConfig::builder().max_connections(0));
    assert_eq!(none, "max_connections is 0; it must be at least 1");
    let workers = text(ServerConfig::builder().workers(Some(1025)));
    assert!(
        workers.starts_with("workers is 1025; it must be from 1 to 1024"),
        "{workers}"
    );
}

#[test]
fn a_message_must_not_take_more_than_the_server() {
    let build = |server| {
        let connection = Config::builder().max_decoded_bytes(20_000).build()?;
        let builder = ServerConfig::builder().connection(connection);
        builder.max_server_decoded_bytes(Some(server)).build()
    };
    assert!(build(20_000).is_ok());
    for wrong in [16_384, 19_999] {
        let text = format!(
            "max_server_decoded_bytes is {wrong}; with max_decoded_bytes 20000 it must be at least \
             20000"
        );
        assert_eq!(build(wrong).unwrap_err().to_string(), text);
    }
}

#[test]
fn a_host_has_a_quarter_of_the_connections_and_at_least_one() {
    for (max, per_host) in [(10_000, 2_500), (5, 1), (1, 1)] {
        let config = ServerConfig::builder().max_connections(max).build();
        assert_eq!(config.unwrap().connection_limits().per_host, per_host);
    }
    let config = ServerConfig::builder()
        .max_connections_per_host(Some(7))
        .build();
    assert_eq!(config.unwrap().connection_limits().per_host, 7);
}

#[test]
fn trusted_proxies_are_a_list_with_commas() {
    let counts = |text, from: &str| {
        let builder = ServerConfig::builder().set("trusted_proxies", text)?;
        let proxies = builder.build()?.trusted_proxies;
        Ok::<_, ConfigError>(proxies.host_of(&Address::Tcp(from.to_owned())).is_some())
    };
    let list = "10.0.0.0/8, fd00::/8";
    assert_eq!(counts(list, "10.1.2.3:1"), Ok(false));
    assert_eq!(counts(list, "[fd00::1]:1"), Ok(false));
    assert_eq!(counts(list, "127.0.0.1:1"), Ok(true));
    assert_eq!(counts("none", "127.0.0.1:1"), Ok(true));
    let text = "trusted_proxies is `here`; write IP addresses or prefixes, such as 10.0.0.1, \
                10.0.0.0/8 or fd00::/8";
    assert_eq!(
        error("trusted_proxies", "10.0.0.1,here").as_deref(),
        Some(text)
    );
    let code = ServerConfig::builder().trusted_proxies(["here"]).build();
    assert_eq!(code.unwrap_err().to_string(), text);
}

#[test]
fn the_proxy_protocol_is_on_or_off_and_needs_a_proxy() {
    let set = |text| ServerConfig::builder().set("proxy_protocol", text);
    assert!(!ServerConfig::default().proxy_protocol());
    for (text, is_on) in [("true", true), (" false ", false)] {
        let config = set(text).unwrap().build().unwrap();
        assert_eq!(config.proxy_protocol(), is_on);
    }
    let text = "proxy_protocol is `yes`; write true or false";
    assert_eq!(error("proxy_protocol", "yes").as_deref(), Some(text));
    let alone = set("true").unwrap().set("trusted_proxies", "none");
    let text = "proxy_protocol is true; with trusted_proxies none it must be false";
    assert_eq!(alone.unwrap().build().unwrap_err().to_string(), text);
}

fn read(variables: &[(&str, &str)]) -> Result<ServerConfig, ConfigError> {
    let builder = ServerConfig::builder().read_variables(variables.iter().copied());
    builder.and_then(ServerConfigBuilder::build)
}

#[test]
fn variables_are_of_the_server_or_of_its_connections() {
    let config = read(&[
        ("HOME", "/root"),
        ("WAWO_SERVER_MAX_CONNECTIONS", "20000"),
        ("WAWO_SERVER_DRAIN_GRACE", "1m"),
        ("WAWO_SERVER_WORKERS", "4"),
        ("WAWO_MAX_CALLS", "2000"),
        ("WAWO_RECONNECT_MAX_WAIT", "1m"),
    ]);
    let config = config.unwrap();
    assert_eq!(config.max_connections(), 20_000);
    assert_eq!(config.drain_grace(), Duration::from_secs(60));
    assert_eq!(config.workers(), Some(4));
    assert_eq!(config.connection().limits().max_calls, 2000);
}

#[test]
fn a_wrong_variable_is_named_with_its_value() {
    for (key, value, text) in [
        (
            "WAWO_SERVER_WORKER",
            "4",
            "WAWO_SERVER_WORKER is no setting; the nearest one is WAWO_SERVER_WORKERS",
        ),
        (
            "WAWO_MAX_CALL",
            "4",
            "WAWO_MAX_CALL is no setting; the nearest one is WAWO_MAX_CALLS",
        ),
        (
            "WAWO_MAX_CONNECTIONS",
            "4",
            "WAWO_MAX_CONNECTIONS is no setting; the nearest one is WAWO_SERVER_MAX_CONNECTIONS",
        ),
        (
            "WAWO_SERVER_MAX_CALLS",
            "4",
            "WAWO_SERVER_MAX_CALLS is no setting; the nearest one is WAWO_MAX_CALLS",
        ),
        (
            "WAWO_SERVER_TRUSTED_PROXIES",
            "me",
            "WAWO_SERVER_TRUSTED_PROXIES is `me`; write IP addresses or prefixes, such as 10.0.0.1, \
             10.0.0.0/8 or fd00::/8",
        ),
        (
            "WAWO_SERVER_MAX_HANDSHAKES",
            "0",
            "WAWO_SERVER_MAX_HANDSHAKES is 0; it must be at least 1",
        ),
    ] {
        assert_eq!(read(&[(key, value)]).unwrap_err().to_string(), text);
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_file_has_settings_of_the_server_and_of_its_connections() {
    let config: ServerConfig =
        toml::from_str("max_connections = 20000\nmax_calls = 2000\ntrusted_proxies = \"::1\"")
            .unwrap();
    assert_eq!(config.max_connections(), 20_000);
    assert_eq!(config.connection().limits().max_calls, 2000);
    let error = toml::from_str::<ServerConfig>("max_server_decoded_bytes = 16384").unwrap_err();
    let text =
        "max_server_decoded_bytes is 16384; with max_decoded_bytes 67108864 it must be at least";
    assert!(error.to_string().contains(text), "{error}");
    let error = toml::from_str::<ServerConfig>("max_conections = 1").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the nearest one is max_connections"),
        "{error}"
    );
}

#[cfg(feature = "serde")]
#[test]
fn a_file_may_have_lists_and_switches_in_its_own_form() {
    let counts = |file: &str| {
        let config: ServerConfig = toml::from_str(file).unwrap();
        let from = ["10.1.2.3:1", "[fd00::1]:1", "127.0.0.1:1"];
        from.map(|from| {
            let from = Address::Tcp(from.to_owned());
            config.trusted_proxies.host_of(&from).is_some()
        })
    };
    let list = "trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]";
    assert_eq!(counts(list), [false, false, true]);
    assert_eq!(
        counts("trusted_proxies = [\"10.1.2.3\"]"),
        [false, true, true]
    );
    assert_eq!(counts("trusted_proxies = []"), [true, true, true]);
    let config: ServerConfig = toml::from_str("proxy_protocol = true").unwrap();
    assert!(config.proxy_protocol());
    for (file, text) in [
        (
            "trusted_proxies = [\"here\"]",
            "trusted_proxies is `here`; write IP addresses",
        ),
        (
            "trusted_proxies = [\"::1,here\"]",
            "trusted_proxies is `here`; write IP addresses",
        ),
        (
            "trusted_proxies = [\"\"]",
            "trusted_proxies is ``; write IP addresses",
        ),
        ("trusted_proxies = [4]", "expected a string"),
        (
            "max_connections = [\"4\"]",
            "expected a whole number or a text for max_connections",
        ),
        (
            "default_timeout = []",
            "expected a whole number or a text for default_timeout",
        ),
        (
            "max_connections = true",
            "max_connections is `true`; write a whole number",
        ),
        (
            "proxy_protocol = 1",
            "proxy_protocol is `1`; write true or false",
        ),
    ] {
        let error = toml::from_str::<ServerConfig>(file)
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{file}: {error}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn an_error_of_a_file_shows_its_own_line_and_no_other() {
    for wrong in [
        "max_cals = 100",
        "max_calls = 10",
        "max_calls = true",
        "max_calls = \"many\"",
    ] {
        let file = format!("claimed_name = \"secret\"\n{wrong}\nmax_streams = 8\n");
        let error = toml::from_str::<ServerConfig>(&file).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(wrong) && text.contains("line 2"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let name = wrong.split(' ').next().unwrap_or_default();
        assert!(error.message().contains(name), "{text}");
    }
}
