//! tower layers: a concurrency limit with load shedding on one method, and a check of who calls,
//! which awaits, on the whole server.
//!
//! `cargo run --example layers`

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::RwLock;
use tower::{
    BoxError, ServiceBuilder, filter::AsyncFilterLayer, limit::ConcurrencyLimitLayer,
    load_shed::LoadShedLayer, timeout::TimeoutLayer,
};
use wawo::{Channel, Code, Context, Peer, Request, Result, Server, Status};

use crate::places::{
    ByNameReply, ByNameRequest, Place, Places, PlacesClient, PlacesServer, Point,
    places_service::method,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod places {
    wawo::include_proto!("places");
}

/// Who calls: left by the check, found by the handler.
struct User(String);

/// Knows who has which token. A real one would ask a database, so asking awaits.
#[derive(Clone, Default)]
struct Users(Arc<RwLock<HashMap<String, String>>>);

impl Users {
    async fn check(self, mut request: Request) -> Result<Request, BoxError> {
        let token = request.metadata().text("token").unwrap_or_default();
        let user = self.0.read().await.get(token).cloned();
        let user = user.ok_or_else(|| Status::unauthenticated("the token is not known"))?;
        request.extensions_mut().insert(User(user));
        Ok(request)
    }
}

struct Atlas;

impl Places for Atlas {
    async fn nearest(&self, cx: Context, point: Point) -> Result<Place> {
        let user = cx.extension::<User>().map_or("nobody", |user| &user.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(Place {
            name: format!("asked by {user}"),
            at: Some(point),
            ..Place::default()
        })
    }

    async fn by_name(&self, _cx: Context, _: ByNameRequest) -> Result<ByNameReply> {
        Ok(ByNameReply::default())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let users = Users::default();
    users.0.write().await.insert("secret".into(), "ada".into());

    // At most two at a time look for the nearest place; a third one is refused.
    let two_at_a_time = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(2));
    let atlas = PlacesServer::new(Atlas).layer_method(&method::NEAREST, two_at_a_time);
    let check = AsyncFilterLayer::new(move |request| users.clone().check(request));
    let server = Server::builder().layer(check).add_service(atlas);
    let server = server.bind("mem://layers").await?;
    tokio::spawn(server.run());

    let peer = Peer::connect("mem://layers").await?;
    let places = PlacesClient::new(&peer);
    let refused = places
        .nearest(Point::default())
        .await
        .expect_err("no token");
    println!("without a token: {refused}");
    assert_eq!(refused.code(), Code::Unauthenticated);

    let ask = || places.nearest(Point::default()).metadata("token", "secret");
    let (first, second, third) = tokio::join!(ask(), ask(), ask());
    println!(
        "three at once: {:?}, {:?}, {}",
        first?.name,
        second?.name,
        third.as_ref().expect_err("the third")
    );
    assert_eq!(
        third.map(drop).map_err(|status| status.code()),
        Err(Code::ResourceExhausted)
    );

    // Layers on the calling side: this timeout is shorter than the handler.
    let hasty = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_millis(10)));
    let places = PlacesClient::new(&Channel::new(hasty.service(peer)));
    let late = places
        .nearest(Point::default())
        .metadata("token", "secret")
        .await;
    println!("in a hurry: {}", late.expect_err("too late"));
    Ok(())
}
