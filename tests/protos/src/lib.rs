//! The code of the schemas in `proto/tests`, and of the one that wawo's front page has.
//!
//! It is in a crate of its own, so that `wawo` itself has no build script.

#![deny(warnings)]
#![allow(clippy::all, reason = "the sizes and names come from the schemas")]

pub mod ping_pong {
    wawo::include_proto!("ping_pong");
}

/// The modules are nested like packages, because their types refer to each other by relative paths.
pub mod tests {
    pub mod blocking {
        wawo::include_proto!("tests.blocking");
    }
    pub mod completion {
        wawo::include_proto!("tests.completion");
    }
    pub mod defaults {
        wawo::include_proto!("tests.defaults");
    }
    pub mod echo {
        wawo::include_proto!("tests.echo");
    }
    pub mod multiply {
        wawo::include_proto!("tests.multiply");
    }
    pub mod names {
        wawo::include_proto!("tests.names");
    }
    pub mod nothing {
        wawo::include_proto!("tests.nothing");
    }
    pub mod proto2 {
        wawo::include_proto!("tests.proto2");
    }
    pub mod shapes {
        wawo::include_proto!("tests.shapes");
    }
    pub mod times {
        wawo::include_proto!("tests.times");
    }
    pub mod vectors {
        wawo::include_proto!("tests.vectors");
    }
}

pub mod keywords {
    wawo::include_proto!("type.Match.self");
}

pub mod no_package {
    wawo::include_proto!("_");
}
