//! TLS: the same calls inside of it, certificates of both sides, and errors that say what is wrong.

mod alpn;
mod certificates;
mod facts;
mod plain;
mod reload;
mod resumption;
mod settings;
mod slow;
mod support;
mod transports;
mod watch;
