//! A minimal server of wawo.

use wawo::{Context, Result, ServeError, Server};

use self::echo::{Echo, EchoServer, Message};

mod echo {
    wawo::include_proto!("echo");
}

struct EchoService;

impl Echo for EchoService {
    async fn echo(&self, _cx: Context, request: Message) -> Result<Message> {
        Ok(request)
    }
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let echo = EchoServer::new(EchoService);
    Server::builder()
        .add_service(echo)
        .serve("tcp://127.0.0.1:4000")
        .await
}
