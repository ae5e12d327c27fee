//! A minimal server of connectrpc.

use std::{error::Error, sync::Arc};

use ::connectrpc::{RequestContext, Response, Router, Server, ServiceRequest, ServiceResult};

use self::generated::echo::{Echo, Message};

mod generated {
    connectrpc::include_generated!();
}

struct EchoService;

#[allow(refining_impl_trait, reason = "nobody but this crate calls it")]
impl Echo for EchoService {
    async fn echo(
        &self,
        _cx: RequestContext,
        request: ServiceRequest<'_, Message>,
    ) -> ServiceResult<Message> {
        Response::ok(request.to_owned_message())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let router = Router::new().add_service(Arc::new(EchoService));
    Server::new(router).serve("127.0.0.1:4000".parse()?).await
}
