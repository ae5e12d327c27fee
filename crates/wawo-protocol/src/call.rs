//! One call seen from one side: what is still to be sent, what has been received of it, and the
//! table of all calls.

mod budget;
mod receiving;
mod sending;
mod spares;
mod table;

pub use crate::call::{budget::MESSAGE_COST_BYTES, spares::Spares};
pub(crate) use crate::call::{
    budget::{Granted, Spending, cost},
    receiving::{Joined, MessageLimits, Received, Receiving},
    sending::{Next, Sending, add_credit},
    table::Table,
};
