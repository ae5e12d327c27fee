//! Errors of TLS, in texts that say what is wrong and what to do.

use std::io;

use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error, OtherError, pki_types::UnixTime,
};

/// An error of a connecting side.
pub(super) fn explain_client_error(error: io::Error) -> io::Error {
    explained(error, |error| match error {
        Error::InvalidCertificate(error) => Some(certificate(error, "server")),
        Error::AlertReceived(alert) => Some(alert_from_server(*alert)),
        error => unreadable(error, "server"),
    })
}

/// An error of an accepting side.
pub(crate) fn explain_server_error(error: io::Error) -> io::Error {
    explained(error, |error| match error {
        Error::InvalidCertificate(error) => Some(certificate(error, "client")),
        Error::NoCertificatesPresented => {
            Some("the client has shown no certificate, and this server requires one".to_owned())
        }
        Error::NoApplicationProtocol => Some(
            "the client names protocols inside of TLS (ALPN) of which this server speaks none"
                .to_owned(),
        ),
        Error::AlertReceived(alert) => Some(alert_from_client(*alert)),
        error => unreadable(error, "client"),
    })
}

fn explained(error: io::Error, text: impl FnOnce(&Error) -> Option<String>) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let text = "it ended without the end of TLS";
        return io::Error::new(error.kind(), text);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner.and_then(text) {
        Some(text) => io::Error::new(error.kind(), text),
        None => error,
    }
}

/// Errors that do not depend on the side.
fn unreadable(error: &Error, other: &str) -> Option<String> {
    match error {
        Error::InvalidMessage(_) => {
            Some(format!("the {other} sent bytes that are not TLS: {error}"))
        }
        Error::PeerIncompatible(_) => Some(format!(
            "the {other} has no version or cipher of TLS in common with this side, which speaks TLS 1.2 and \
             1.3: {error}"
        )),
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => {
            Some(format!("the {other} broke the rules of TLS: {error}"))
        }
        error => Some(format!("TLS with the {other} failed: {error}")),
    }
}

/// The problem of the other side's certificate.
fn certificate(error: &CertificateError, other: &str) -> String {
    use CertificateError as E;
    let whose = format!("the {other}'s certificate");
    match error {
        E::UnknownIssuer => format!(
            "{whose} was signed by nobody that this side trusts: add the root of its issuer to the roots, or \
             let the {other} send the certificates in between too"
        ),
        E::NotValidForName => format!("{whose} is for another name"),
        E::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "{whose} is not for `{}` but for {}: connect by a name that it has, or set \
             `ClientTls::builder().server_name(..)`",
            expected.to_str(),
            join_names(presented)
        ),
        E::Expired => format!("{whose} has expired: renew it"),
        E::ExpiredContext { time, not_after } => format!(
            "{whose} has expired {} ago: renew it, or set the clock of this machine",
            rough_time(*not_after, *time)
        ),
        E::NotValidYet => format!("{whose} is not valid yet: set the clocks"),
        E::NotValidYetContext { time, not_before } => format!(
            "{whose} is valid only in {} from now: set the clock of this machine",
            rough_time(*time, *not_before)
        ),
        E::Revoked => format!("{whose} was revoked by its issuer"),
        E::UnknownRevocationStatus => {
            format!("no revocation list says whether {whose} is revoked: add that of its issuer")
        }
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            format!("the revocation list for {whose} is out of date: renew its file")
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            format!(
                "{whose} is for another purpose: its extended key usage must name a {other} of TLS"
            )
        }
        E::BadSignature => format!("{whose} has a wrong signature"),
        E::Other(error) if is_authority(error) => format!(
            "{whose} is that of an authority, or signed by itself: issue one for the {other} by an authority, \
             as docs/tls.md says"
        ),
        error => format!("{whose} cannot be used: {error}"),
    }
}

/// Whether the certificate of an authority was shown as that of a server or client.
fn is_authority(error: &OtherError) -> bool {
    let error = error.0.downcast_ref::<webpki::Error>();
    matches!(error, Some(webpki::Error::CaUsedAsEndEntity))
}

fn join_names(names: &[String]) -> String {
    match names.is_empty() {
        true => "no name".to_owned(),
        false => names
            .iter()
            .map(|name| plain_name(name))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The name alone: the library writes it as `DnsName("chat.example")`.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').map(|(_, rest)| rest);
    let inner = inner.and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// The time between two others, roughly.
fn rough_time(from: UnixTime, to: UnixTime) -> String {
    let secs = to.as_secs().saturating_sub(from.as_secs());
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} hours", secs / 3600),
        _ => format!("{} days", secs / 86400),
    }
}

fn alert_from_server(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired => {
            "the server requires a certificate of this side: give one by `ClientTls::builder().certificate(..)`"
                .to_owned()
        }
        A::NoApplicationProtocol => {
            "the server speaks no wawo inside of TLS (ALPN `wawo/1`): it is another server".to_owned()
        }
        A::UnrecognisedName => "the server does not know the name that this side asks for".to_owned(),
        A::ProtocolVersion => {
            "the server has no version of TLS in common with this side, which speaks TLS 1.2 and 1.3".to_owned()
        }
        A::HandshakeFailure => "the server refused the handshake of TLS: it has no cipher in common with this \
                                side, or requires a certificate of it"
            .to_owned(),
        alert => match refused_certificate(alert) {
            Some(reason) => format!("the server does not accept the certificate of this side: {reason}"),
            None => format!("the server ended TLS with the alert {alert:?}"),
        },
    }
}

fn alert_from_client(alert: AlertDescription) -> String {
    match refused_certificate(alert) {
        Some(reason) => {
            format!("the client does not accept the certificate of this server: {reason}")
        }
        None => format!("the client ended TLS with the alert {alert:?}"),
    }
}

/// The reason in an alert about a certificate.
fn refused_certificate(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::UnknownCA => "it does not know who signed it",
        A::CertificateExpired => "it has expired, or is not valid yet",
        A::CertificateRevoked => "it was revoked",
        A::UnsupportedCertificate => "it is for another purpose",
        A::BadCertificate => "it is for another name, or broken",
        A::CertificateUnknown | A::AccessDenied | A::DecryptError => "it gives no reason",
        _ => return None,
    })
}
