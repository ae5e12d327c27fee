//! The functions of the repository's fuzz targets, run here on a few inputs: random ones, and those
//! that fuzzing found to reach deep states.

mod decode;
mod machines;
mod packets;

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*};

/// Runs `target` on its kept inputs.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let seeds = fs::read_dir(folder.join(name)).expect("the seeds are in the repository");
    let seeds: Vec<_> = seeds.map(|seed| seed.expect("a file").path()).collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        target(&fs::read(&seed).expect("a file"));
    }
}

#[test]
fn seeds_of_decode_pass() {
    replay("decode", decode::run);
}

#[test]
fn seeds_of_packets_pass() {
    replay("packets", packets::run);
}

#[test]
fn seeds_of_machines_pass() {
    replay("machines", machines::run);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn random_bytes_pass(bytes in vec(any::<u8>(), 0..1024)) {
        decode::run(&bytes);
        packets::run(&bytes);
        machines::run(&bytes);
    }
}
