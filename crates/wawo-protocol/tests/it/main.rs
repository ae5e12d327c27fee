//! Tests of the protocol from outside: two machines over a simulated link, one machine and a peer
//! that may send anything, golden vectors, and properties.

mod batch;
mod buffer_pool;
mod calls;
mod code;
mod config;
mod credit;
mod deadlines;
mod direct_read;
mod ends;
mod fast_path;
mod foreign;
mod fuzz;
mod handshake;
mod hello;
mod honest;
mod id;
mod limits;
mod liveness;
mod metadata;
mod model;
mod moves;
mod nested;
mod one_way;
mod packets;
mod pair;
mod raw;
mod states;
mod stream_deadlines;
mod time;
mod vectors;
mod violations;
mod world;
