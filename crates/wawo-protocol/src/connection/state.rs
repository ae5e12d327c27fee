//! Where a connection is in its life, from its preface to its close.

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Their preface is not here yet.
    ExpectPreface,
    /// Their preface is here, their hello is not.
    ExpectHello,
    /// Both hellos are through.
    Open,
    /// Nothing more is sent or expected.
    Closed,
}
