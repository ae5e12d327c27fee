//! The settings of reconnecting: ranges, names, variables, files.

use std::time::Duration;

use super::{Reconnect, ReconnectBuilder};

#[test]
fn settings_are_checked_at_their_limits() {
    let new = Reconnect::builder;
    let (zero, ms) = (Duration::ZERO, Duration::from_millis(1));
    for (settings, wrong) in [
        (new(), None),
        (new().first_wait(ms).max_wait(ms), None),
        (new().max_wait(Duration::MAX), None),
        (
            new().first_wait(Duration::MAX).max_wait(Duration::MAX),
            None,
        ),
        (new().stable_after(zero).max_tries(Some(1)), None),
        (new().stable_after(Duration::MAX), None),
        (new().max_calls_without_connection(usize::MAX), None),
        (
            new().first_wait(zero),
            Some("first_wait is 0ns; it must be at least 1ms"),
        ),
        (
            new().max_wait(zero),
            Some("max_wait is 0ns; it must be at least 1ms"),
        ),
        (
            new().max_calls_without_connection(0),
            Some("max_calls_without_connection is 0;"),
        ),
        (new().max_tries(Some(0)), Some("max_tries is 0;")),
        (
            new().max_wait(ms),
            Some("first_wait is 1s; with max_wait 1ms it may be at most 1ms"),
        ),
    ] {
        let error = settings.build().err().map(|error| error.to_string());
        match (wrong, &error) {
            (None, None) => {}
            (Some(text), Some(error)) => assert!(error.starts_with(text), "{error}"),
            _ => panic!("{error:?} and not {wrong:?}"),
        }
    }
}

#[test]
fn settings_have_names_and_variables() {
    let read = |key, value| {
        let variables = [("WAWO_MAX_CALLS", "64"), (key, value)];
        let builder = Reconnect::builder().read_variables(variables);
        builder
            .and_then(ReconnectBuilder::build)
            .map_err(|error| error.to_string())
    };
    let of_variables = read("WAWO_RECONNECT_MAX_WAIT", "1m").unwrap();
    assert_eq!(of_variables.max_wait(), Duration::from_secs(60));
    assert!(
        read("WAWO_RECONNECT_WAIT_FOR_READY", "true")
            .unwrap()
            .wait_for_ready()
    );
    for (key, value, text) in [
        (
            "WAWO_RECONNECT_WAIT_FOR_READY",
            "yes",
            "WAWO_RECONNECT_WAIT_FOR_READY is `yes`; write true or false",
        ),
        (
            "WAWO_RECONNECT_MAX_WAITS",
            "1m",
            "WAWO_RECONNECT_MAX_WAITS is no setting; the nearest one is WAWO_RECONNECT_MAX_WAIT",
        ),
    ] {
        assert_eq!(read(key, value).unwrap_err(), text);
    }
    for setting in Reconnect::settings() {
        let builder = Reconnect::builder().set(setting.name, setting.default);
        assert!(builder.unwrap().build().is_ok(), "{}", setting.name);
    }
}

#[cfg(feature = "serde")]
#[test]
fn settings_are_read_from_a_file() {
    let config: Reconnect = toml::from_str("max_wait = \"1m\"\nwait_for_ready = true").unwrap();
    assert_eq!(config.max_wait(), Duration::from_secs(60));
    assert!(config.wait_for_ready());
    let error = toml::from_str::<Reconnect>("max_wait = \"1ms\"").unwrap_err();
    assert!(error.to_string().contains("with max_wait 1ms"), "{error}");
}
