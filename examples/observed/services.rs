//! The services: a waiter, whose guests and cook connect to him, and whom he calls back.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::sleep;
use tracing::Instrument as _;
use wawo::{Context, OrStatus as _, Result, Status, WeakPeer};

use crate::kitchen::{Bill, Cook, CookClient, Dish, Guest, GuestClient, Payment, Plate, Waiter};

#[derive(Default)]
pub(crate) struct Restaurant {
    /// The connection of the cook.
    cook: Mutex<Option<WeakPeer>>,
}

impl Waiter for Restaurant {
    async fn begin(&self, cx: Context, (): ()) -> Result<()> {
        *self.cook.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.peer().downgrade());
        Ok(())
    }

    async fn order(&self, cx: Context, dish: Dish) -> Result<Plate> {
        let plate = CookClient::new(&self.cook()?).prepare(dish).await;
        let plate = plate.map_err(Status::forward)?;
        // The guest pays over the connection on which the order came.
        let paid = GuestClient::new(&cx.peer()).pay(Bill { cents: 950 }).await;
        match paid?.cents {
            950.. => Ok(plate),
            cents => Err(Status::failed_precondition(format!(
                "{cents} cents are too few"
            ))),
        }
    }
}

impl Restaurant {
    fn cook(&self) -> Result<wawo::Peer> {
        let cook = self.cook.lock().unwrap_or_else(PoisonError::into_inner);
        let cook = cook.as_ref().and_then(WeakPeer::upgrade);
        cook.or_status(wawo::Code::Unavailable, "the kitchen is closed")
    }
}

pub(crate) struct Kitchen;

impl Cook for Kitchen {
    async fn prepare(&self, _cx: Context, dish: Dish) -> Result<Plate> {
        if dish.name == "snow" {
            return Err(Status::not_found("there is no snow today"));
        }
        // A span of the program's own becomes a part of the trace.
        let contents = bake(dish.name)
            .instrument(tracing::info_span!("bake"))
            .await;
        Ok(Plate { contents })
    }
}

async fn bake(name: String) -> String {
    sleep(Duration::from_millis(20)).await;
    format!("hot {name}")
}

pub(crate) struct Wallet;

impl Guest for Wallet {
    async fn pay(&self, _cx: Context, bill: Bill) -> Result<Payment> {
        Ok(Payment { cents: bill.cents })
    }
}
