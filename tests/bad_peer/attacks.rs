//! The attacks of the threat model, grouped by target. Each test names its attack by number.
//!
//! An attack whose memory is also measured is a function of its own; see [`crate::memory`].

pub(crate) mod circles;
pub(crate) mod claims;
pub(crate) mod credit;
pub(crate) mod crowds;
pub(crate) mod crumbs;
mod cuts;
mod deadlines;
mod descriptors;
pub(crate) mod exhaustion;
mod flips;
#[cfg(target_os = "linux")]
mod hosts;
mod ids;
pub(crate) mod metadata;
pub(crate) mod multiplied;
pub(crate) mod pings;
pub(crate) mod pins;
pub(crate) mod resets;
mod slow;
mod unknown;
pub(crate) mod unread;
