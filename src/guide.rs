//! Pages about what a program needs around its handlers. There is no code in these modules.
//!
//! The repository has the same pages in `docs/`. Its tests compile and run their code, except that of
//! [`observability`]: the example `observed` has that.

// The blocks of a page are one program, so they are no doctests: the crate `tests/pages` tests them.

#[cfg_attr(not(doctest), doc = include_str!("../docs/generated.md"))]
pub mod generated {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/identity.md"))]
pub mod identity {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/observability.md"))]
pub mod observability {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/reconnect.md"))]
pub mod reconnect {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/state.md"))]
pub mod state {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/streams.md"))]
pub mod streams {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/testing-services.md"))]
pub mod testing {}

#[cfg_attr(not(doctest), doc = include_str!("../docs/tls.md"))]
pub mod tls {}
