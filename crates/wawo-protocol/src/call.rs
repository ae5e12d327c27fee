//! One call seen from one side: what is still to be sent, what has been received of it, and the
//! table of all calls.

mod buffer_pool;
mod credit;
mod recv_half;
mod send_half;
mod table;

pub use crate::call::{buffer_pool::BufferPool, credit::MESSAGE_COST_BYTES};
pub(crate) use crate::call::{
    credit::{RecvCredit, SendCredit, cost},
    recv_half::{AssemblyBuffer, MessageLimits, RecvHalf, RecvOutcome},
    send_half::{Next, SendHalf, add_credit},
    table::Table,
};
