//! Two connections, a clock and a link between them.
