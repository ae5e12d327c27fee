//! Devices that serve a method to their server, over connections that they open themselves. The network cuts
//! the connections again and again, and the server is restarted; the devices come back and register. No
//! reading is lost.
//!
//! `cargo run --example device`

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{network::Network, office::Office};

mod device;
mod network;
mod office;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod fleet {
    wawo::include_proto!("fleet");
}

const DEVICES: usize = 5;
const READINGS: u32 = 300;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let office = Arc::new(Office::default());
    let (address, old) = office::serve(office.clone()).await?;
    let network = Network::to(&address).await?;
    let mut devices = JoinSet::new();
    for number in 0..DEVICES {
        let name = format!("device {number}");
        devices.spawn(device::run(name, network.address(), READINGS));
    }

    office.wait_for(DEVICES).await;
    for cut in 1..=5 {
        network.cut();
        let begin = Instant::now();
        office.wait_for(DEVICES).await;
        println!(
            "cut {cut}: all devices measure again after {:?}",
            begin.elapsed()
        );
    }

    // A restart. The new server is there before the old one drains, and each device is told when to come.
    let (address, new) = office::serve(office.clone()).await?;
    network.lead_to(&address);
    let report = old
        .drain(Duration::from_secs(1))
        .spread(Duration::from_secs(1))
        .await;
    println!(
        "the old server let {} devices go, and cut {}",
        report.peers,
        report.cut.len()
    );

    while let Some(device) = devices.join_next().await {
        device??;
    }
    println!("{}", office.summary());
    assert_eq!(office.readings(), DEVICES * READINGS as usize);
    new.drain(Duration::from_secs(1)).await;
    Ok(())
}
