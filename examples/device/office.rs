//! The server of the fleet, which measures by calling its devices.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::sleep;
use wawo::{Address, Context, Result, ServeError, Server, ServerHandle, WeakPeer};

use crate::fleet::{Device, Fleet, FleetServer, Reading, ThermometerClient};

/// The book of the fleet. It outlives the servers, as a database does.
#[derive(Default)]
pub(crate) struct Office(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// The connection of each device that has registered.
    devices: HashMap<String, WeakPeer>,
    registrations: usize,
    readings: HashSet<(String, u32)>,
}

/// Starts a server at a free port, and returns its address.
pub(crate) async fn serve(office: Arc<Office>) -> Result<(Address, ServerHandle), ServeError> {
    let fleet = FleetServer::from_arc(office);
    let server = Server::builder()
        .add_service(fleet)
        .bind("tcp://127.0.0.1:0")
        .await?;
    let started = (server.addresses()[0].clone(), server.handle());
    tokio::spawn(server.run());
    Ok(started)
}

impl Fleet for Office {
    async fn register(&self, cx: Context, device: Device) -> Result<()> {
        let mut book = self.book();
        book.registrations += 1;
        book.devices.insert(device.name, cx.peer().downgrade());
        Ok(())
    }

    async fn report(&self, _cx: Context, reading: Reading) -> Result<()> {
        // A device that has not seen our answer sends a reading again; a set keeps it once.
        self.book()
            .readings
            .insert((reading.device, reading.number));
        Ok(())
    }
}

impl Office {
    /// Waits until this number of devices has registered and measures.
    pub(crate) async fn wait_for(&self, devices: usize) {
        while self.measure().await < devices {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Calls all devices, and returns how many have answered.
    async fn measure(&self) -> usize {
        let peers: Vec<_> = self
            .book()
            .devices
            .values()
            .filter_map(WeakPeer::upgrade)
            .collect();
        let answers = join_all(
            peers
                .iter()
                .map(|peer| ThermometerClient::new(peer).measure(())),
        )
        .await;
        answers.iter().filter(|answer| answer.is_ok()).count()
    }

    pub(crate) fn readings(&self) -> usize {
        self.book().readings.len()
    }

    pub(crate) fn summary(&self) -> String {
        let book = self.book();
        format!(
            "{} devices registered {} times, and reported {} readings",
            book.devices.len(),
            book.registrations,
            book.readings.len()
        )
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
