//! More callers than a connection takes calls.

use futures::future::join_all;
use wawo::{Config, Status};

use crate::support::{EchoClient, message, pair_with};

#[tokio::test]
async fn callers_wait_while_half_of_the_calls_that_may_wait_do() {
    let (mut here, mut there) = (Config::default(), Config::default());
    here.max_waiting_calls = 200;
    there.limits.max_calls = 64;
    let pair = pair_with(here, there).await;
    let echo = EchoClient::new(&pair.to_server);
    let callers = (0..1_000).map(|_| tokio::spawn(caller(echo.clone())));
    for caller in join_all(callers).await {
        caller.unwrap().unwrap();
    }
}

async fn caller(echo: EchoClient) -> Result<(), Status> {
    for _ in 0..10 {
        echo.say(message("wait your turn")).await?;
    }
    Ok(())
}
