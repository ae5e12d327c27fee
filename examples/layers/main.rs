//! Layers: a limit on one method, and interceptors on the whole server, which authorise the caller
//! and measure its calls.
//!
//! `cargo run --example layers`

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::sync::RwLock;
use tower::{BoxError, ServiceBuilder, timeout::TimeoutLayer};
use wawo::{
    Channel, Code, Context, Peer, Request, Response, Result, Server, Status, Streaming,
    layer::{InFlightLayer, Intercept, Next, intercept},
};

use crate::jobs::{
    Done, Job, Jobs, JobsClient, JobsServer, Tick, WatchRequest, jobs_service::method,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod jobs {
    wawo::include_proto!("jobs");
}

/// The caller. `Users` inserts it, and the handler reads it.
struct User(String);

/// Authorises calls by a token in their metadata. A real one would query a database, so the check
/// awaits.
struct Users(RwLock<HashMap<String, String>>);

impl Intercept for Users {
    async fn call(&self, mut request: Request, next: Next) -> Result<Response> {
        let token = request.metadata().text("token").unwrap_or_default();
        let user = self.0.read().await.get(token).cloned();
        let user = user.ok_or_else(|| Status::unauthenticated("the token is not known"))?;
        request.extensions_mut().insert(User(user));
        next.call(request).await
    }
}

/// Measures how long each call takes, and tells how it ended.
async fn measure(request: Request, next: Next) -> Result<Response> {
    let method = request.descriptor().map(ToString::to_string);
    let begin = Instant::now();
    let result = next.call(request).await;
    let code = result.as_ref().err().map_or(Code::Ok, Status::code);
    println!("{method:?}: {code:?} after {:?}", begin.elapsed());
    result
}

struct Worker;

impl Jobs for Worker {
    async fn work(&self, cx: Context, job: Job) -> Result<Done> {
        let user = cx.extension::<User>().map_or("nobody", |user| &user.0);
        cx.set_reply_metadata("worked-for", user.to_owned())?;
        tokio::time::sleep(Duration::from_millis(job.millis.into())).await;
        Ok(Done {})
    }

    async fn watch(&self, _cx: Context, _: WatchRequest) -> Result<Streaming<Tick>> {
        Ok(Streaming::empty())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let users = HashMap::from([("secret".into(), "ada".into())]);
    let users = intercept(Users(RwLock::new(users)));

    // At most two jobs run at a time; a third one is refused.
    let worker = JobsServer::new(Worker).layer_method(&method::WORK, InFlightLayer::new(2));
    let server = Server::builder().layer(intercept(measure)).layer(users);
    let server = server.add_service(worker).bind("mem://layers").await?;
    tokio::spawn(server.run());

    let peer = Peer::connect("mem://layers").await?;
    let jobs = JobsClient::new(&peer);
    let refused = jobs.work(Job { millis: 0 }).await.expect_err("no token");
    println!("without a token: {refused}");
    assert_eq!(refused.code(), Code::Unauthenticated);

    let work = || jobs.work(Job { millis: 50 }).metadata("token", "secret");
    let (first, second, third) = tokio::join!(work().with_metadata(), work(), work());
    let (Done {}, metadata) = first?;
    println!("the first was done for {:?}", metadata.text("worked-for"));
    second?;
    let third = third.expect_err("two are in flight");
    println!("the third: {third}");
    assert_eq!(third.code(), Code::ResourceExhausted);
    assert!(third.is_safe_to_retry());

    // Layers on the caller's side: this timeout is shorter than the job.
    let hasty = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_millis(10)));
    let jobs = JobsClient::new(&Channel::new(hasty.service(peer)));
    let late = jobs.work(Job { millis: 50 }).metadata("token", "secret");
    println!("in a hurry: {}", late.await.expect_err("too late"));
    Ok(())
}
