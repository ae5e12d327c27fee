//! docs/limits.md agrees with the code: its tables have the default and the range of each setting, and
//! its examples of a file and of variables are right.

use std::{collections::BTreeMap, fs, path::Path};

use wawo::{Config, ConfigBuilder, Reconnect, ServerConfig, Setting};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    fs::read_to_string(path).unwrap()
}

/// Default and range of each setting that a row of a table begins with.
fn rows(document: &str) -> BTreeMap<&str, Vec<[String; 2]>> {
    let mut rows = BTreeMap::<_, Vec<_>>::new();
    for line in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        // Digits are grouped for the eye.
        let cell = |at: usize| cells.get(at).map(|cell| cell.replace(',', ""));
        if let (Some(name), Some(default), Some(range)) =
            (cells[1].split('`').nth(1), cell(2), cell(3))
        {
            rows.entry(name).or_default().push([default, range]);
        }
    }
    rows
}

fn settings() -> impl Iterator<Item = Setting> {
    Config::settings().chain(ServerConfig::settings())
}

#[test]
fn each_setting_stands_in_the_tables_with_its_default_and_range() {
    let document = document();
    let rows = rows(&document);
    for setting in settings() {
        let expected = [setting.default.to_owned(), setting.range.replace(',', "")];
        let found = rows.get(setting.name).map(Vec::as_slice);
        // Other tables may name a setting too, in other columns.
        let is_there = found.is_some_and(|rows| rows.contains(&expected));
        assert!(
            is_there,
            "`{}`: {expected:?} and not {found:?}",
            setting.name
        );
    }
}

#[test]
fn the_defaults_of_the_tables_are_values_of_their_settings() {
    for setting in ServerConfig::settings() {
        let builder = ServerConfig::builder().set(setting.name, setting.default);
        assert!(builder.unwrap().build().is_ok(), "{}", setting.name);
    }
}

/// The lines of the only block of code in a language.
fn block(document: &str, language: &str) -> String {
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_variables_of_the_document_are_settings() {
    let block = block(&document(), "sh");
    let variables = block.lines().map(|line| line.split_once('=').unwrap());
    let config = ServerConfig::builder().read_variables(variables);
    let config = config.unwrap().build().unwrap();
    assert_eq!(config.max_connections(), 20_000);
    assert_eq!(config.connection().limits().max_message_bytes, 65_536);
    let block = block.lines().map(|line| line.split_once('=').unwrap());
    let reconnect = Reconnect::builder().read_variables(block).unwrap().build();
    assert_eq!(reconnect.unwrap().max_wait().as_secs(), 60);
}

#[test]
fn the_error_of_the_document_is_one() {
    let variables = [("WAWO_MAX_CALLS", "10")];
    let error = Config::builder().read_variables(variables).unwrap_err();
    assert!(document().contains(&format!("`{error}`")), "{error}");
}

#[cfg(feature = "serde")]
#[test]
fn the_file_of_the_document_is_a_configuration() {
    let config: ServerConfig = toml::from_str(&block(&document(), "toml")).unwrap();
    assert_eq!(config.max_connections(), 20_000);
    assert_eq!(config.connection().limits().max_message_bytes, 65_536);
}

/// A program whose server and clients are configured apart.
#[cfg(feature = "serde")]
#[test]
fn configurations_are_parts_of_a_larger_file() {
    use std::collections::HashMap;

    let text = "[backend]\nmax_calls = 64\n[mail]\nkeep_alive_interval = \"1m\"";
    let configs: HashMap<String, Config> = toml::from_str(text).unwrap();
    assert_eq!(configs["backend"].limits().max_calls, 64);
    assert_eq!(configs["mail"].keep_alive_interval().as_secs(), 60);
}

#[test]
fn a_configuration_can_be_changed_and_is_checked_again() {
    let config = Config::builder().max_calls(64).build().unwrap();
    let changed = ConfigBuilder::from(config.clone()).max_streams(1).build();
    assert_eq!(changed.unwrap().limits().max_calls, 64);
    assert!(ConfigBuilder::from(config).max_calls(1).build().is_err());
}
