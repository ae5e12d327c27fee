//! The tables of the bench.

use std::{fmt::Write as _, time::Duration};

use wawo::Reconnect;

use crate::{
    cost,
    scenarios::{Leave, MAX_FALLS, WINDOW, falls, one_dies, outage, rolling},
    simulation::{BackoffReset, DEFAULT_ROOM, Figures, Settings},
};

/// How large the simulations are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    clients: u32,
    servers: u32,
    /// Handshakes to measure the cost.
    handshakes: u32,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        clients: 1_000_000,
        servers: 100,
        handshakes: 20_000,
    };

    pub(crate) const TEST: Self = Self {
        clients: 20_000,
        servers: 2,
        handshakes: 100,
    };

    fn settings(self, handshake: Duration) -> Settings {
        Settings {
            clients: self.clients,
            servers: self.servers,
            handshake,
            room: DEFAULT_ROOM,
            reconnect: Reconnect::default(),
            reset: BackoffReset::Stable,
            seed: 1,
        }
    }
}

pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) print: fn(Scale) -> String,
}

pub(crate) const TABLES: [Table; 6] = [
    Table {
        name: "cost",
        title: "CPU time of a server for each handshake",
        print: |scale| cost::table(scale.handshakes),
    },
    Table {
        name: "dies",
        title: "one server dies, the others take its clients",
        print: dies,
    },
    Table {
        name: "rolling",
        title: "one server after the other restarts, one in 70 s",
        print: roll,
    },
    Table {
        name: "outage",
        title: "no server can be reached for some time",
        print: outages,
    },
    Table {
        name: "overload",
        title: "all connections are lost at once, and the servers cannot keep up",
        print: overload,
    },
    Table {
        name: "falls",
        title: "servers that fall over when a fifth of all clients come in a second",
        print: fall,
    },
];

/// The time of a handshake on one core: somewhat more than was measured for `docs/scale.md`.
const PLAIN: Duration = Duration::from_micros(50);
const TLS: Duration = Duration::from_micros(300);

const COSTS: [(&str, Duration); 2] = [("plain", PLAIN), ("TLS", TLS)];

const HEAD: &str = "| | clients to come back | most dials in 100 ms | over the mean | over the mean of the first \
                    wait | 99 % back after | handshakes | wasted | no room |\n\
                    |---|---|---|---|---|---|---|---|---|\n";

fn row(table: &mut String, name: &str, figures: &Figures) {
    let back = figures.back.map_or_else(|| "never".to_owned(), seconds);
    let first_wait = Reconnect::default().first_wait();
    let _ = writeln!(
        table,
        "| {name} | {} | {} | {:.2} | {:.2} | {back} | {} | {} | {} |",
        figures.lost,
        figures.peak(WINDOW),
        figures.peak_over_mean(WINDOW),
        figures.peak_over_even(WINDOW, first_wait),
        figures.useful,
        figures.wasted,
        figures.dropped,
    );
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn dies(scale: Scale) -> String {
    let mut table = HEAD.to_owned();
    for (name, cost) in COSTS {
        row(&mut table, name, &one_dies(scale.settings(cost)));
    }
    table
}

fn outages(scale: Scale) -> String {
    let mut table = HEAD.to_owned();
    for millis in [0, 300, 900, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000] {
        let lasts = Duration::from_millis(millis);
        let figures = outage(scale.settings(PLAIN), lasts);
        row(&mut table, &format!("{} s", lasts.as_secs_f64()), &figures);
    }
    table
}

fn overload(scale: Scale) -> String {
    let mut table = HEAD.to_owned();
    for load in [0.5, 1.0, 2.0, 3.0, 10.0, 30.0] {
        let clients = f64::from(scale.clients / scale.servers);
        let handshake = Duration::from_secs_f64(load / clients);
        let figures = outage(scale.settings(handshake), Duration::ZERO);
        let name = format!(
            "{load} times ({:.2} ms each)",
            handshake.as_secs_f64() * 1e3
        );
        row(&mut table, &name, &figures);
    }
    // At this pace, clients give up before the end of the usual queue, so it is shorter here.
    let slow = Settings {
        room: 512,
        ..scale.settings(Duration::from_millis(3))
    };
    let figures = outage(slow, Duration::ZERO);
    row(&mut table, "30 times, room for 512", &figures);
    table
}

fn fall(scale: Scale) -> String {
    let head =
        "| the waits begin anew | falls | handshakes for each client | 99 % back after the last |";
    let mut table = format!("{head}\n|---|---|---|---|\n");
    for (name, reset) in [
        ("after a stable connection", BackoffReset::Stable),
        ("with each connection", BackoffReset::EachConnection),
    ] {
        let settings = Settings {
            reset,
            ..scale.settings(PLAIN)
        };
        let falls = falls(settings);
        let (count, back) = match falls.falls {
            MAX_FALLS => (format!("{MAX_FALLS}, without an end"), "never".to_owned()),
            count => (
                count.to_string(),
                falls.figures.back.map_or_else(String::new, seconds),
            ),
        };
        let each = falls.handshakes as f64 / f64::from(scale.clients);
        let _ = writeln!(table, "| {name} | {count} | {each:.1} | {back} |");
    }
    table
}

fn roll(scale: Scale) -> String {
    let head =
        "| | most dials in 1 s, over the share of 60 s | clients that lost their connection |";
    let mut table = format!("{head}\n|---|---|---|\n");
    for (name, leave) in [
        ("killed", Leave::Kill),
        ("drained at once", Leave::Drain),
        ("drained with MOVE over 60 s", Leave::Move),
    ] {
        let roll = rolling(scale.settings(TLS), leave, scale.servers);
        let (peak, lost) = (roll.peak_over_share, roll.lost);
        let _ = writeln!(table, "| {name} | {peak:.2} | {lost} |");
    }
    table
}
