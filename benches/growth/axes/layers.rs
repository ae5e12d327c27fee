//! More layers around the services of a server. Each has its own future, and does nothing.

use tower::{Layer, util::MapResponseLayer};
use wawo::{CallService, Dispatch, Response, ServerBuilder};

use crate::{
    curve::Curve,
    echo::EchoClient,
    load::{BYTES, Cost, IN_FLIGHT, Load, Pace},
    table::Table,
    world::{one_thread, over_memory, parrot},
};

pub(crate) fn measure(pace: Pace) -> Table {
    // Each layer changes the type of the server.
    let none = parrot();
    let one = none.clone().layer(layer());
    let two = one.clone().layer(layer());
    let three = two.clone().layer(layer());
    let four = three.clone().layer(layer());
    let five = four.clone().layer(layer());
    let mut curve = Curve::new("layers", &[]);
    curve.push(0, cost(none, pace));
    curve.push(1, cost(one, pace));
    curve.push(2, cost(two, pace));
    curve.push(3, cost(three, pace));
    curve.push(4, cost(four, pace));
    curve.push(5, cost(five, pace));
    curve.per_step()
}

fn layer() -> MapResponseLayer<fn(Response) -> Response> {
    MapResponseLayer::new(|response| response)
}

fn cost<L>(server: ServerBuilder<L>, pace: Pace) -> Cost
where
    L: Layer<Dispatch, Service: CallService>,
{
    one_thread().block_on(async {
        let (peer, _server) = over_memory(server).await;
        let mut load = Load::of(&EchoClient::new(&peer), IN_FLIGHT, BYTES);
        load.measure(pace).await
    })
}
