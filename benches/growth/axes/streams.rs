//! More open streams on the connection of the measured calls. Each has carried one message in each
//! direction, and is idle.

use std::time::Duration;

use futures::{StreamExt, stream};
use wawo::{Config, Streaming};

use crate::{
    curve::Curve,
    echo::{EchoClient, Message},
    load::{BYTES, IN_FLIGHT, Load, Pace},
    table::Table,
    world::{one_thread, over_memory, parrot},
};

const STREAMS: [usize; 5] = [0, 10, 100, 1_000, 10_000];

pub(crate) fn measure(pace: Pace) -> Table {
    let mut curve = Curve::new("idle streams", &[]);
    let config = Config::builder()
        // A sixteenth of the slots is reserved for calls that handlers make. Here there are none.
        .max_calls((2 * (STREAMS[4] + IN_FLIGHT)) as u32)
        .max_streams(STREAMS[4])
        .build()
        .expect("settings in their ranges");
    for streams in STREAMS {
        let cost = one_thread().block_on(async {
            let (peer, _server) = over_memory(parrot().config(config.clone())).await;
            let client = EchoClient::new(&peer);
            let mut open = Vec::new();
            for _ in 0..streams {
                open.push(idle_stream(&client).await);
            }
            Load::of(&client, IN_FLIGHT, BYTES).measure(pace).await
        });
        curve.push(streams, cost);
    }
    curve.per_call()
}

async fn idle_stream(client: &EchoClient) -> Streaming<Message> {
    let requests = stream::once(async { Message::default() }).chain(stream::pending());
    // The timeout of a call includes its streams.
    let call = client.talk(requests).timeout(Duration::from_secs(3600));
    let mut replies = call.await.expect("a stream");
    replies.message().await.expect("an echo");
    replies
}
