//! Handlers that keep requests which take many times their length.

use std::future::pending;

use wawo::{Context, Result, Status, Streaming};

use crate::service::messages::{
    defaults::Old,
    multiply::{Asked, Everything, Multiply},
};

/// Keeps its requests for as long as it may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeper;

impl Multiply for Keeper {
    async fn hold(&self, _cx: Context, request: Everything) -> Result<()> {
        keep(request).await
    }

    async fn note(&self, _cx: Context, request: Everything) {
        let _ = keep(request).await;
    }

    /// Reads all requests, and keeps each until the next one has come.
    async fn read(&self, _cx: Context, mut requests: Streaming<Everything>) -> Result<()> {
        while let Some(request) = requests.message().await? {
            if !request.data.is_empty() {
                return keep(request).await;
            }
        }
        Ok(())
    }

    async fn give(&self, _cx: Context, request: Asked) -> Result<Everything> {
        Ok(Everything {
            fives: vec![Default::default(); request.elements as usize],
            ..Everything::default()
        })
    }

    async fn give_many(&self, cx: Context, request: Asked) -> Result<Streaming<Everything>> {
        let one = self.give(cx, request).await?;
        let all = vec![Ok(one); request.messages as usize];
        Ok(Streaming::new(futures::stream::iter(all)))
    }

    async fn complete(&self, _cx: Context, request: Everything) -> Result<()> {
        keep(request).await
    }

    async fn old(&self, _cx: Context, _: Old) -> Result<()> {
        Err(Status::unimplemented("nothing keeps it"))
    }
}

async fn keep(request: Everything) -> Result<()> {
    pending::<()>().await;
    drop(request);
    Ok(())
}
