//! A minimal server of ttrpc.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;
use ttrpc::asynchronous::{Server, TtrpcContext};

use self::generated::{
    echo::Message,
    echo_ttrpc::{Echo, create_echo},
};

mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}

struct EchoService;

#[async_trait]
impl Echo for EchoService {
    async fn echo(&self, _cx: &TtrpcContext, request: Message) -> ttrpc::Result<Message> {
        Ok(request)
    }
}

#[tokio::main]
async fn main() -> ttrpc::Result<()> {
    let echo = create_echo(Arc::new(EchoService));
    let server = Server::new().bind("tcp://127.0.0.1:4000")?;
    server.register_service(echo).start().await?;
    pending().await
}
