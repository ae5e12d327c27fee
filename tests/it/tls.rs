//! TLS: the same calls inside of it, certificates of both sides, and errors that say what is wrong.

mod support;
mod transports;
