//! The faults and restarts of the servers in a simulation.

use std::time::Duration;

use super::simulation::{Figures, Settings, World};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The narrowest time in which arrivals are counted.
pub(crate) const WINDOW: Duration = Duration::from_millis(100);

/// How long a simulation runs at most, after the last thing that happens to a server.
const PATIENCE: Duration = Duration::from_secs(300);

/// One server of many dies, and stays dead.
pub(crate) fn one_dies(settings: Settings) -> Figures {
    let mut world = World::new(settings);
    world.kill(0);
    world.watch();
    world.run_until_back(PATIENCE);
    world.figures()
}

/// All connections are lost, and no server can be reached for some time. What is counted begins when they
/// can be.
pub(crate) fn outage(settings: Settings, lasts: Duration) -> Figures {
    let servers = settings.servers;
    let mut world = World::new(settings);
    kill_all(&mut world, servers);
    world.run_until(lasts);
    start_all(&mut world, servers);
    world.watch();
    world.run_until_back(PATIENCE);
    world.figures()
}

fn kill_all(world: &mut World, servers: u32) {
    for server in 0..servers {
        world.kill(server);
    }
}

fn start_all(world: &mut World, servers: u32) {
    (0..servers).for_each(|server| world.start(server));
}

/// The figures of servers that fall over when too many clients come at once.
#[derive(Debug)]
pub(crate) struct Falls {
    /// How often they fell over, at most [`MAX_FALLS`] times.
    pub(crate) falls: u32,
    /// Handshakes in all.
    pub(crate) handshakes: u64,
    /// The last time.
    pub(crate) figures: Figures,
}

/// How often servers may fall over before a simulation ends.
pub(crate) const MAX_FALLS: u32 = 50;

/// All servers are lost and come back after a second. Each time that more than a fifth of all clients dial
/// within a second, as soon as that second is over, all are lost again.
pub(crate) fn falls(settings: Settings) -> Falls {
    let (servers, most) = (settings.servers, settings.clients / 5);
    let mut world = World::new(settings);
    let (mut falls, mut handshakes) = (0, 0);
    loop {
        kill_all(&mut world, servers);
        world.watch();
        world.run_until(SECOND);
        start_all(&mut world, servers);
        world.watch();
        let falls_over = (1..=40).any(|second| {
            world.run_until(second * SECOND);
            world.figures().peak(SECOND) > most
        });
        let figures = world.figures();
        handshakes += figures.useful;
        falls += u32::from(falls_over);
        if !falls_over || falls == MAX_FALLS {
            return Falls {
                falls,
                handshakes,
                figures,
            };
        }
    }
}

/// How the servers of a rolling restart take leave of their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// All clients lose their connections.
    Kill,
    /// All clients are asked to go at once.
    Drain,
    /// Each client is asked to go at its own time, by MOVE.
    Move,
}

/// The figures of a rolling restart.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// For the worst server: the dials in the busiest second, over those of a second if its clients came
    /// evenly over [`SPREAD`].
    pub(crate) peak_over_share: f64,
    /// How many clients had no connection for some time.
    pub(crate) lost: u32,
}

/// The time over which clients leave in a rolling restart.
pub(crate) const SPREAD: Duration = Duration::from_secs(60);

/// How long a server is given for its clients after the spread, and how long it takes to start.
const REST: Duration = Duration::from_secs(10);

/// One server after the other restarts, for this number of servers.
pub(crate) fn rolling(settings: Settings, leave: Leave, restarts: u32) -> Roll {
    let mut world = World::new(settings);
    let mut roll = Roll::default();
    for server in 0..restarts {
        let clients = leave_by(&mut world, server, leave);
        // A server gives its last client the time for a handshake.
        world.run_until(SPREAD + SECOND);
        roll.lost += world.kill(server);
        world.run_until(SPREAD + REST);
        world.start(server);
        let share = f64::from(clients) / SPREAD.as_secs_f64();
        let peak = f64::from(world.figures().peak(SECOND)) / share;
        roll.peak_over_share = roll.peak_over_share.max(peak);
        roll.lost += world.figures().lost;
    }
    roll
}

/// Begins to end a server. Returns how many clients it had.
fn leave_by(world: &mut World, server: u32, leave: Leave) -> u32 {
    match leave {
        Leave::Kill => {
            world.kill(server);
            world.watch();
            world.figures().lost
        }
        Leave::Drain => {
            world.watch();
            world.drain(server)
        }
        Leave::Move => {
            world.watch();
            world.drain_spread(server, SPREAD)
        }
    }
}
