//! One call seen from one side: what is still to be sent, what has been received of it, and the
//! table of all calls.

mod receiving;
mod sending;
mod table;

pub(crate) use crate::call::{
    receiving::{Received, Receiving},
    sending::{Next, Sending},
    table::Table,
};
