//! One connection: the task that drives its socket, and what others leave for it.
//!
//! A [`Driver`](driver::Driver) owns the transport and the state machine of the protocol. All others hold a
//! handle, and leave [commands](mailbox::Command) in its [mailbox](mailbox::Mailbox).

pub(crate) mod activity;
pub(crate) mod deadline_watch;
pub(crate) mod driver;
pub(crate) mod input;
pub(crate) mod mailbox;
pub(crate) mod message_copier;
pub(crate) mod start;
pub(crate) mod stream;
