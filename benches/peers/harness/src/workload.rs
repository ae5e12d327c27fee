//! The workloads of a connection.

use std::{fmt, str::FromStr};

/// The kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Workload {
    /// A request and its reply, echoed.
    Unary,
    /// A message without a reply.
    OneWay,
    /// A stream of messages from the server.
    Stream,
    /// One request and its reply, and then nothing.
    Idle,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary",
            Self::OneWay => "one_way",
            Self::Stream => "stream",
            Self::Idle => "idle",
        })
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "unary" => Ok(Self::Unary),
            "one_way" => Ok(Self::OneWay),
            "stream" => Ok(Self::Stream),
            "idle" => Ok(Self::Idle),
            _ => anyhow::bail!("unknown workload `{text}`: unary, one_way, stream or idle"),
        }
    }
}
