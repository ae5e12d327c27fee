//! The parts of TLS that also a side knows which does not speak it.

/// The alert "unexpected message", as one record of TLS. A side that does not speak TLS sends it to one that
/// does: all implementations of TLS show it as an error.
pub(crate) const TLS_ALERT: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 10];

/// The first byte of a client that speaks TLS: the type of a handshake record.
const HANDSHAKE: u8 = 0x16;

/// Whether the first bytes of a client are those of TLS.
pub(crate) fn begins_tls(start: &[u8]) -> bool {
    start.first() == Some(&HANDSHAKE)
}
