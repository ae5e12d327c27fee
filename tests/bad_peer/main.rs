//! A peer that may send anything, with an honest peer that makes calls beside it in every case.
//!
//! ```text
//!    raw ──── any bytes ────► ┌────────┐
//!                             │ target │  the real server, over memory or TCP
//!    honest ─ calls ────────► └────────┘
//! ```
//!
//! Whatever the raw peer sends, it is answered as docs/protocol.md says, the server holds no more
//! memory than its limits allow, and no call of the honest peer fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod cases;
mod honest;
mod memory;
mod promises;
mod raw;
mod service;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod wire;
