//! The change of a call's cost along an axis.

use std::time::Duration;

use crate::{load::Cost, table::Table};

/// The points of one axis, from the least work to the most.
#[derive(Debug)]
pub(crate) struct Curve {
    heads: Vec<&'static str>,
    points: Vec<Point>,
}

#[derive(Debug)]
struct Point {
    at: usize,
    cost: Cost,
    /// The cells of additional columns.
    more: Vec<String>,
}

/// The ratio of the last row's cost to the cheapest row's above which the axis is called worse than
/// linear. It is a hint, not a fault: caches, writes and wake-ups that are shared by less work also
/// bend a curve.
const BEND: f64 = 1.5;

impl Curve {
    /// Creates an axis, with the heads of additional columns.
    pub(crate) fn new(axis: &'static str, more: &[&'static str]) -> Self {
        let mut heads = vec![axis, "calls/s", "CPU us a call", "to the first"];
        heads.extend(more);
        Self {
            heads,
            points: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, at: usize, cost: Cost) {
        self.push_with(at, cost, Vec::new());
    }

    /// Adds a point with cells of additional columns.
    pub(crate) fn push_with(&mut self, at: usize, cost: Cost, more: Vec<String>) {
        self.points.push(Point { at, cost, more });
    }

    /// The table, with the verdict whether the cost of all calls grows faster than their number.
    pub(crate) fn per_call(&self) -> Table {
        self.table(self.verdict("call", |_| 1.0))
    }

    /// The table of an axis that grows in bytes.
    pub(crate) fn per_byte(&self) -> Table {
        self.table(self.verdict("byte", |at| at as f64))
    }

    /// The table of an axis that makes every call do more, with the cost of each step.
    pub(crate) fn per_step(&self) -> Table {
        let (first, last) = (&self.points[0], &self.points[self.points.len() - 1]);
        let steps = (last.at - first.at) as f64;
        let added = nanos(last.cost.cpu) - nanos(first.cost.cpu);
        self.table(format!("Each adds {:.0} ns to a call.", added / steps))
    }

    fn verdict(&self, unit: &str, units_of_a_call: impl Fn(usize) -> f64) -> String {
        let cost = |point: &Point| nanos(point.cost.cpu) / units_of_a_call(point.at);
        let cheapest = self.points.iter().map(cost).fold(f64::INFINITY, f64::min);
        let last = cost(&self.points[self.points.len() - 1]) / cheapest;
        let verdict = match last > BEND {
            true => "Worse than linear",
            false => "Linear",
        };
        format!(
            "{verdict}: in the last row a {unit} costs {last:.2} times what it costs in the cheapest."
        )
    }

    fn table(&self, verdict: String) -> Table {
        let mut table = Table::new(self.heads.clone());
        let first = nanos(self.points[0].cost.cpu);
        for Point { at, cost, more } in &self.points {
            let mut cells = vec![
                with_commas(*at as u64),
                with_commas(cost.calls_per_sec as u64),
                format!("{:.2}", nanos(cost.cpu) / 1000.0),
                format!("{:.2}", nanos(cost.cpu) / first),
            ];
            cells.extend(more.iter().cloned());
            table.push(cells);
        }
        table.note(verdict);
        table
    }
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Formats a number in groups of three digits.
pub(crate) fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
