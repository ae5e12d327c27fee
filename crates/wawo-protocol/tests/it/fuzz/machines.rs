//! Two honest machines with their users, over a link that is slow, splits bytes, and may be lost.

use arbitrary::{Arbitrary, Result, Unstructured};
use wawo_protocol::Code;

use crate::world::{Operation, Requests, Step, World};

/// How a run begins and ends.
#[derive(Debug, Arbitrary)]
struct Setting {
    parts: PartSize,
    delay_ms: u8,
    end: End,
}

#[derive(Debug, Arbitrary)]
enum PartSize {
    Small,
    Large,
    Whole,
}

#[derive(Debug, Arbitrary)]
enum End {
    WindUp([bool; 2]),
    Lose,
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(setting) = Setting::arbitrary(&mut input) else {
        return;
    };
    let part = match setting.parts {
        PartSize::Small => 997,
        PartSize::Large => 4099,
        PartSize::Whole => usize::MAX,
    };
    let mut world = World::new(part, setting.delay_ms.into());
    while let Some(step) = next_step(&mut input) {
        world.take(&step);
    }
    match setting.end {
        End::WindUp(drain) => world.wind_up(drain),
        End::Lose => world.lose(),
    }
}

fn next_step(input: &mut Unstructured<'_>) -> Option<Step> {
    if input.is_empty() {
        return None;
    }
    step(input).ok()
}

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    Ok(match input.int_in_range(0..=12)? {
        0..=3 => Step::Client(operation(input)?),
        4..=7 => Step::Server(operation(input)?),
        8..=11 => Step::Run,
        _ => Step::Pass(u8::arbitrary(input)?.into()),
    })
}

fn operation(input: &mut Unstructured<'_>) -> Result<Operation> {
    Ok(match input.int_in_range(0..=31)? {
        0..=5 => Operation::Start(requests(input)?, length(input)?, timeout_ms(input)?),
        6 => Operation::Burst,
        7..=8 => Operation::Note(length(input)?),
        9 => Operation::Cancel(which(input)?),
        10..=17 => Operation::Send(which(input)?, length(input)?, input.ratio(1, 5)?),
        18 => Operation::Finish(which(input)?),
        19..=21 => Operation::Reply(which(input)?, length(input)?),
        22..=25 => Operation::OpenReply(which(input)?),
        26..=28 => Operation::End(which(input)?, code(input)?),
        _ => Operation::Consume,
    })
}

fn requests(input: &mut Unstructured<'_>) -> Result<Requests> {
    input
        .choose(&[Requests::One, Requests::Stream, Requests::StreamWithFirst])
        .copied()
}

fn code(input: &mut Unstructured<'_>) -> Result<Code> {
    input.choose(&[Code::Ok, Code::Aborted]).copied()
}

fn which(input: &mut Unstructured<'_>) -> Result<usize> {
    u8::arbitrary(input).map(usize::from)
}

fn timeout_ms(input: &mut Unstructured<'_>) -> Result<Option<u64>> {
    let millis = Option::<u8>::arbitrary(input)?;
    Ok(millis.map(u64::from))
}

/// The length of a message. Most are small; some are several packets long, a few exceed the credit.
fn length(input: &mut Unstructured<'_>) -> Result<usize> {
    let byte = usize::from(u8::arbitrary(input)?);
    Ok(match byte {
        0..=179 => byte,
        180..=229 => (byte - 179) * 800,
        _ => (byte - 170) * 1024,
    })
}
