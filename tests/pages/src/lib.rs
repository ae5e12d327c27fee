//! The code of the pages in `docs/`, one module each, as `build.rs` takes it from them. Tests on the
//! pages are run, so the pages hold what they claim.

#![cfg(test)]

mod certificates;
mod generated;

macro_rules! page {
    ($module:ident, $file:literal) => {
        mod $module {
            #![allow(
                clippy::unwrap_used,
                missing_docs,
                unreachable_pub,
                unused_qualifications,
                reason = "code of a program, not of a library"
            )]

            include!(concat!(env!("OUT_DIR"), "/", $file, ".page.rs"));
        }
    };
}

page!(identity, "identity");
page!(reconnect, "reconnect");
page!(state, "state");
page!(streams, "streams");
page!(testing_services, "testing-services");
page!(tls, "tls");
