//! Every public error ends with its cause, and `source()` continues after that cause. So a printed
//! error tells the reason, and a printed chain repeats nothing.

use std::{error::Error, fmt, fs, io, path::Path, sync::Arc};

use wawo::{
    Code, ConnectError, ConnectionError, Dispatch, OrStatus, Peer, ServeError, Server, Status,
    TrySendError,
};

use crate::support::{EchoServer, Parrot};

/// An error with a cause, neither of which mentions the other.
#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is gone")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody pulled the plug")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl Error for Inner {}

fn io_error() -> io::Error {
    io::Error::other(Outer(Inner))
}

/// All lines that a printer of error chains prints.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

/// Errors whose cause has a cause.
fn with_causes() -> Vec<Box<dyn Error>> {
    let address: wawo::Address = "tcp://127.0.0.1:4000".parse().unwrap();
    let lost = || ConnectionError::Lost(Arc::new(io_error()));
    vec![
        Box::new(lost()),
        Box::new(ConnectError::Transport {
            address: address.clone(),
            source: io_error(),
        }),
        Box::new(ConnectError::Hello {
            address: Some(address.clone()),
            source: lost(),
        }),
        Box::new(ConnectError::Hello {
            address: None,
            source: lost(),
        }),
        Box::new(ServeError::Bind {
            address,
            source: io_error(),
        }),
        Box::new(ServeError::OpenListener(io_error())),
        Box::new(ServeError::Workers(io_error())),
        Box::new(Status::internal("it failed").with_source(io_error())),
        Box::new(Status::internal("").with_source(io_error())),
        Box::new(Status::internal("it failed: the disk is gone").with_source(io_error())),
        Box::new(
            Err::<(), _>(lost())
                .or_status(Code::Aborted, "no")
                .unwrap_err(),
        ),
    ]
}

#[test]
fn an_error_ends_with_its_cause_and_its_source_is_what_caused_that() {
    for error in with_causes() {
        let texts = chain(&*error);
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].ends_with("the disk is gone"), "{texts:?}");
        assert_eq!(texts[1], "somebody pulled the plug");
        assert_eq!(texts[0].matches("the disk is gone").count(), 1, "{texts:?}");
    }
}

/// Errors whose cause has no cause, with the text of that cause.
fn with_a_cause() -> Vec<(Box<dyn Error>, &'static str)> {
    let config = || {
        let config = wawo::Config::builder().max_waiting_calls(0);
        config.build().unwrap_err()
    };
    let duplicate = || {
        let mut dispatch = Dispatch::default();
        dispatch.add(EchoServer::new(Parrot::default())).unwrap();
        dispatch
            .add(EchoServer::new(Parrot::default()))
            .unwrap_err()
    };
    let options = || {
        let options = wawo::SocketOptions::new().backlog(0);
        let error = Server::builder().socket_options(options).build();
        match error.unwrap_err() {
            ServeError::SocketOptions(error) => error,
            error => panic!("{error}"),
        }
    };
    let credentials = || {
        let (config, now) = (wawo::Config::default(), std::time::Instant::now());
        let credentials = vec![0; 20_000].into();
        let connection = wawo_protocol::Connection::<()>::connecting(config, credentials, now);
        connection.unwrap_err()
    };
    let address = || "nowhere".parse::<wawo::Address>().unwrap_err();
    let metadata = || wawo::Metadata::new().append("Key", "").unwrap_err();
    vec![
        (Box::new(config()), "max_waiting_calls"),
        (
            Box::new(ConnectError::Config(config())),
            "max_waiting_calls",
        ),
        (Box::new(ServeError::Config(config())), "max_waiting_calls"),
        (Box::new(options()), "backlog is 0"),
        (
            Box::new(ConnectError::Credentials(credentials().into())),
            "credentials of 20000 bytes",
        ),
        (
            Box::new(ConnectError::SocketOptions(options())),
            "backlog is 0",
        ),
        (
            Box::new(ServeError::SocketOptions(options())),
            "backlog is 0",
        ),
        (Box::new(duplicate()), "added twice"),
        (
            Box::new(wawo::ServiceDescriptor::all_in(b"no set").unwrap_err()),
            "the bytes are no FileDescriptorSet",
        ),
        (
            Box::new(ConnectError::DuplicateService(duplicate())),
            "added twice",
        ),
        (
            Box::new(ServeError::DuplicateService(duplicate())),
            "added twice",
        ),
        (Box::new(address()), "no scheme"),
        (Box::new(ConnectError::Address(address())), "no scheme"),
        (Box::new(ServeError::Address(address())), "no scheme"),
        (Box::new(metadata()), "\"Key\""),
        (Box::new(Status::from(metadata())), "\"Key\""),
    ]
}

#[test]
fn an_error_that_is_all_there_is_has_no_source() {
    for (error, cause) in with_a_cause() {
        let texts = chain(&*error);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert_eq!(texts[0].matches(cause).count(), 1, "{texts:?}");
    }
}

#[test]
fn debug_prints_all_causes_once() {
    for error in with_causes() {
        // For debugging, the parts of a connection's end are worth more than its text.
        if error.is::<ConnectionError>() {
            continue;
        }
        let text = format!("{error:?}");
        for cause in ["the disk is gone", "somebody pulled the plug"] {
            assert_eq!(text.matches(cause).count(), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn a_failed_connect_prints_its_reason() {
    let error = Peer::connect("tcp://127.0.0.1:1").await.unwrap_err();
    let ConnectError::Transport { source, .. } = &error else {
        panic!("{error}");
    };
    let text = format!("cannot connect to tcp://127.0.0.1:1: {source}");
    assert_eq!(error.to_string(), text);
    assert!(error.source().is_none());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let error = Server::builder().bind(&address).await.unwrap_err();
    let text = format!("cannot listen at {address}: ");
    assert!(error.to_string().starts_with(&text), "{error}");
}

/// The public errors that are tested above or in their own crate. A new public error needs a test
/// and a line here.
const KNOWN: [&str; 23] = [
    "AddressError",
    "ConfigError",
    "ConnectError",
    "ConnectionError",
    "CredentialsTooLong",
    "DescriptorError",
    "DuplicateService",
    "Error",
    "Explanation",
    "ProtocolFault",
    "MetadataError",
    "Overload",
    "Panic",
    "PeerMisbehaved",
    "ProxyHeaderError",
    "Refusal",
    "RelocationError",
    "ServeError",
    "SocketOptionsError",
    "TlsError",
    "TrustedProxyError",
    "TryError",
    "TrySendError",
];

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(fs::read_to_string(&path).unwrap()),
        }
    }
}

/// The code of the workspace's crates, without tests.
fn code() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "crates/wawo-protocol/src", "crates/wawo-build/src"] {
        sources(&root.join(folder), &mut files);
    }
    let without_tests = |text: String| text.split("#[cfg(test)]").next().unwrap().to_owned();
    files.into_iter().map(without_tests).collect()
}

#[test]
fn no_error_leaves_its_cause_to_a_source_that_repeats_it() {
    let mut names = Vec::new();
    for text in code() {
        let mut is_transparent = false;
        let mut derives = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[error(") {
                is_transparent = line == "#[error(transparent)]";
            }
            let is_source = line.contains("#[source]") || line.contains("#[from]");
            assert!(
                !is_source || is_transparent,
                "write `source` by hand: {line}"
            );
            derives |= line.starts_with("#[derive(") && line.contains("Error");
            let item = line
                .split_whitespace()
                .skip_while(|word| word.starts_with("pub"));
            let item: Vec<_> = item.take(2).collect();
            if let ["enum" | "struct", name] = item[..]
                && std::mem::take(&mut derives)
            {
                names.push(name.to_owned());
            }
            if let Some((_, name)) = line.split_once("Error for ") {
                names.push(name.to_owned());
            }
        }
    }
    let word = |name: &String| -> String {
        name.chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect()
    };
    for name in names.iter().map(word) {
        let is_known = KNOWN.contains(&&*name) || name == "Status";
        assert!(
            is_known,
            "try the error `{name}` in this file, and add it to KNOWN"
        );
    }
    assert!(names.len() > KNOWN.len() / 2);
}

#[test]
fn an_item_that_was_not_sent_is_no_cause() {
    for error in [TrySendError::Full(1), TrySendError::Closed(1)] {
        assert!(error.source().is_none());
    }
}

/// A `main` that returns an error prints it by `Debug`.
#[test]
fn errors_of_texts_and_settings_are_words_in_debug_too() {
    let of_config = wawo::Config::builder().set("max_cals", "1").unwrap_err();
    let of_address = "tcp://".parse::<wawo::Address>().unwrap_err();
    let of_descriptor = wawo::ServiceDescriptor::builder("a/b").build().unwrap_err();
    assert_eq!(format!("{of_config:?}"), of_config.to_string());
    assert_eq!(format!("{of_address:?}"), of_address.to_string());
    assert_eq!(format!("{of_descriptor:?}"), of_descriptor.to_string());
}
