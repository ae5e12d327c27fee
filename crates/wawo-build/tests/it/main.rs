//! Tests of the generator from outside: schemas in, Rust or an error out.

mod cases;
mod errors;
mod generated;
mod include_proto;
mod inputs;
mod outputs;
mod runs;
mod schema;
mod sets;
mod texts;
