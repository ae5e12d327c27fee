//! Counts the user-mode instructions of a call and of a stream's item, separately for client and
//! server. The counts do not depend on the load of the machine.
//!
//! ```text
//! cargo bench --bench instructions               prints the figures beside those checked in
//! cargo bench --bench instructions -- --check    and fails if one has grown by more than 5 %, or
//!                                                by 2 % (unary) or 4 % (others) of the baseline
//! cargo bench --bench instructions -- --write    and checks them in
//! cargo bench --bench instructions -- --test     runs each load once, without counting
//! ```
//!
//! Each load runs twice, with few and with many calls, and the difference excludes the cost of
//! start and end. This needs valgrind, and prints a message if valgrind is missing.

mod count;
mod figures;
mod load;

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use wawo_test_protos::tests::echo;

use self::{
    figures::{Bounds, Figures},
    load::Load,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    // Cargo passes it to every bench.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["server", address, load] => load::serve(address, Load::named(load)?)?,
        ["client", address, load, calls] => Load::named(load)?.run(address, calls.parse()?)?,
        ["--test"] => {
            for load in Load::ALL {
                count::natively(load)?;
            }
        }
        _ if !count::has_valgrind() => {
            writeln!(io::stdout(), "skipped: there is no valgrind")?;
        }
        [] => {
            let bounds = Bounds::read()?;
            figures::print(&count_all(&bounds)?, &bounds)?;
        }
        ["--write"] => count_all(&Bounds::none())?.check_in()?,
        ["--check"] => check()?,
        _ => return Err(format!("unknown arguments {words:?}").into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn check() -> Result<()> {
    let bounds = Bounds::read()?;
    let now = count_all(&bounds)?;
    figures::print(&now, &bounds)?;
    let grown = bounds.broken_by(&now).join(", ");
    match grown.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{grown}: grown by more than 5 % of figures.txt, or by more than 2 % (unary) or 4 % \
             (others) of baseline.txt; if the former is what it costs, \
             `cargo bench --bench instructions -- --write`; the latter stays as it is"
        )
        .into()),
    }
}

/// Counts until no load exceeds its bounds, as far as that is possible.
fn count_all(bounds: &Bounds) -> Result<Figures> {
    let mut figures = Figures::default();
    for load in Load::ALL {
        let is_enough = |cost| bounds.allow(load.name(), cost);
        figures.add(load.name(), count::under_valgrind(load, is_enough)?);
    }
    Ok(figures)
}
