//! The service of the state vectors. The tests of `wawo` share this file.

use std::{future::pending, time::Duration};

use futures::{StreamExt as _, stream};
use wawo::{Code, Context, Delivery, Result, Status, Streaming};
use wawo_test_protos::tests::vectors::{Text, Vectors, VectorsClient};

/// The service as `proto/tests/vectors.proto` describes it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Application;

/// How long a drain may take.
const GRACE: Duration = Duration::from_secs(60);

fn text(text: impl Into<String>) -> Text {
    let text = text.into();
    Text { text }
}

impl Vectors for Application {
    async fn echo(&self, _cx: Context, request: Text) -> Result<Text> {
        Ok(request)
    }

    async fn repeat(&self, _cx: Context, request: Text) -> Result<Streaming<Text>> {
        let replies = vec![Ok(request); 3];
        Ok(Streaming::new(stream::iter(replies)))
    }

    async fn count(&self, _cx: Context, mut requests: Streaming<Text>) -> Result<Text> {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(request) = requests.message().await? {
            messages += 1;
            bytes += request.text.len();
        }
        Ok(text(format!("{messages} {bytes}")))
    }

    async fn talk(&self, _cx: Context, requests: Streaming<Text>) -> Result<Streaming<Text>> {
        Ok(requests)
    }

    async fn note(&self, cx: Context, request: Text) {
        let caller = VectorsClient::new(&cx.peer());
        // A message that cannot be sent is missed by the tester.
        let _ = caller.note(request).await;
    }

    async fn fail(&self, _cx: Context, request: Text) -> Result<Text> {
        Err(Status::failed_precondition(request.text))
    }

    async fn wait(&self, _cx: Context, _request: Text) -> Result<Text> {
        pending().await
    }

    async fn hold(&self, _cx: Context, _requests: Streaming<Text>) -> Result<Streaming<Text>> {
        pending().await
    }

    async fn call(&self, cx: Context, request: Text) -> Result<Text> {
        let caller = VectorsClient::new(&cx.peer());
        let outcome = match call(&caller, &request.text).await {
            Ok(replies) => ["ok".to_owned()].into_iter().chain(replies).collect(),
            Err(status) => failure(&status),
        };
        Ok(text(outcome.join(" ")))
    }

    async fn drain(&self, cx: Context, _request: Text) -> Result<Text> {
        let peer = cx.peer();
        let (began, begun) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let drain = peer.drain(GRACE);
            tokio::pin!(drain);
            // The first poll begins it.
            let _ = futures::poll!(&mut drain);
            let _ = began.send(());
            drain.await
        });
        begun
            .await
            .map_err(|_| Status::internal("the drain has not begun"))?;
        Ok(text("draining"))
    }
}

/// Makes the call that a text names; returns the texts of the replies.
async fn call(caller: &VectorsClient, words: &str) -> Result<Vec<String>> {
    let mut words = words.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let requests: Vec<_> = words.map(text).collect();
    let first = requests.first().cloned().unwrap_or_default();
    let replies = match &*method {
        "Echo" => vec![caller.echo(first).await?],
        "Repeat" => all(caller.repeat(first).await?).await?,
        "Count" => vec![caller.count(stream::iter(requests)).await?],
        "Talk" => all(caller.talk(stream::iter(requests)).await?).await?,
        "Note" => {
            caller.note(first).await?;
            vec![]
        }
        other => return Err(Status::invalid_argument(format!("no method {other}"))),
    };
    Ok(replies.into_iter().map(|reply| reply.text).collect())
}

async fn all(replies: Streaming<Text>) -> Result<Vec<Text>> {
    let replies: Vec<Result<Text>> = replies.collect().await;
    replies.into_iter().collect()
}

fn failure(status: &Status) -> Vec<String> {
    let code: Code = status.code();
    let mut words = vec!["failed".to_owned(), code.to_wire().to_string()];
    if status.delivery() == Delivery::NotSent {
        words.push("refused".to_owned());
    }
    words
}
