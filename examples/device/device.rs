//! A device: it serves a thermometer, and reports readings over connections that come and go.

use std::{error::Error, time::Duration};

use tokio::time::sleep;
use wawo::{Context, Peer, PeerEvent, Reconnect, Result};

use crate::fleet::{Device, FleetClient, Reading, Temperature, Thermometer, ThermometerServer};

struct Sensor;

impl Thermometer for Sensor {
    async fn measure(&self, _cx: Context, (): ()) -> Result<Temperature> {
        Ok(Temperature { celsius: 21.5 })
    }
}

/// Reports this many readings.
pub(crate) async fn run(
    name: String,
    address: String,
    readings: u32,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let reconnect = Reconnect::builder()
        // Calls wait while there is no connection.
        .wait_for_ready(true)
        // The defaults are 1 s and 10 s: too long for an example.
        .first_wait(Duration::from_millis(100))
        .stable_after(Duration::from_millis(50))
        .build()?;
    let device = Device { name: name.clone() };
    let peer = Peer::builder(address)
        .add_service(ThermometerServer::new(Sensor))
        .reconnect(reconnect)
        // Over each new connection, before other calls.
        .on_connect(move |peer| register(peer, device.clone()))
        .connect()
        .await?;
    tokio::spawn(tell(name.clone(), peer.clone()));

    let fleet = FleetClient::new(&peer);
    for number in 0..readings {
        let reading = Reading {
            device: name.clone(),
            number,
            celsius: 21.5,
        };
        // A call that was sent before a cut may have been served or not, so wawo does not send it again by
        // itself. This one may come twice, so the device does.
        while let Err(status) = fleet.report(reading.clone()).await {
            if status.code() != wawo::Code::Unavailable {
                return Err(status.into());
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
    peer.drain(Duration::from_secs(1)).await;
    Ok(())
}

async fn register(peer: Peer, device: Device) -> Result<()> {
    FleetClient::new(&peer).register(device).await
}

/// Prints how a device moves to the new server.
async fn tell(name: String, peer: Peer) {
    let mut events = peer.events();
    drop(peer);
    while let Some(event) = events.next().await {
        if let PeerEvent::Move(_, relocation) = event {
            println!("{name} moves in {:?}", relocation.not_before());
        }
    }
}
