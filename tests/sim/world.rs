//! The state that all parts of a simulation share.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use wawo::Metrics;

use crate::{
    history::{CallEvent, History},
    plan::{CallPlan, Plan},
};

/// The plan, the history, and state shared by callers and handlers outside the network.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) history: History,
    /// Counts the calls of all hosts, on both sides.
    pub(crate) metrics: Metrics,
    /// By number of the call.
    calls: Vec<Aside>,
}

/// State of a call outside the network.
#[derive(Debug, Default)]
struct Aside {
    link: OnceLock<u32>,
    /// Whether all requests of the caller have been taken.
    all_sent: watch::Sender<bool>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        let calls = plan.calls.iter().map(|_| Aside::default()).collect();
        Arc::new(Self {
            plan,
            history: History::new(),
            metrics: Metrics::new(),
            calls,
        })
    }

    pub(crate) fn call(&self, number: u32) -> &CallPlan {
        &self.plan.calls[number as usize]
    }

    /// Records that a call is made over this link.
    pub(crate) fn made(&self, number: u32, link: u32) {
        // A call is made only once.
        let _ = self.aside(number).link.set(link);
        self.history.call(number, CallEvent::Made { link });
    }

    /// The link over which a call was made.
    pub(crate) fn link_of(&self, number: u32) -> u32 {
        let link = self.aside(number).link.get();
        *link.expect("only a call that was made is served")
    }

    pub(crate) fn all_sent(&self, number: u32) {
        self.aside(number).all_sent.send_replace(true);
    }

    pub(crate) async fn until_all_sent(&self, number: u32) {
        let mut all_sent = self.aside(number).all_sent.subscribe();
        // The sender lives as long as the world.
        let _ = all_sent.wait_for(|all_sent| *all_sent).await;
    }

    fn aside(&self, number: u32) -> &Aside {
        &self.calls[number as usize]
    }
}
