//! A minimal server of tonic.

use std::error::Error;

use tonic::{Request, Response, Status, transport::Server};

use self::echo::{
    Message,
    echo_server::{Echo, EchoServer},
};

mod echo {
    tonic::include_proto!("echo");
}

struct EchoService;

#[tonic::async_trait]
impl Echo for EchoService {
    async fn echo(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let echo = EchoServer::new(EchoService);
    let address = "127.0.0.1:4000".parse()?;
    Ok(Server::builder().add_service(echo).serve(address).await?)
}
