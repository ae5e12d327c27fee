//! Queries cities of the world with calls of all shapes: the nearest city to a point, cities by
//! name, all cities in a rectangle, the length of a route, and a conversation of notes at places.
//!
//! `cargo run --example places` makes some queries; `.. places -- 48.2 16.4` queries a point, `..
//! places -- Springfield` a name.

mod atlas;

use std::env;

use futures::{StreamExt, stream};
use wawo::{Peer, Result, Server};

use crate::{
    atlas::Atlas,
    places::{ByNameRequest, Note, PlacesClient, PlacesServer, Point, Rectangle},
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod places {
    wawo::include_proto!("places");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = Server::builder().add_service(PlacesServer::new(Atlas::default()));
    let server = server.bind("tcp://127.0.0.1:0").await?;
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());
    let places = PlacesClient::new(&Peer::connect(address).await?);

    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [latitude, longitude] => {
            let at = point(latitude.parse()?, longitude.parse()?);
            println!("{:?}", places.nearest(at).await?);
        }
        [name] => println!("{:?}", places.by_name(named(name)).await?),
        _ => {
            look_up(&places).await?;
            stream_places(&places).await?;
            converse(&places).await?;
        }
    }
    Ok(())
}

fn point(latitude: f64, longitude: f64) -> Point {
    Point {
        latitude,
        longitude,
    }
}

fn named(name: &str) -> ByNameRequest {
    ByNameRequest { name: name.into() }
}

async fn look_up(places: &PlacesClient) -> Result<(), Error> {
    let nearest = places.nearest(point(48.2, 16.4)).await?;
    println!(
        "nearest to 48.2, 16.4: {} ({})",
        nearest.name, nearest.country
    );
    assert_eq!(nearest.name, "Wien");
    let valencia = places.by_name(named("Valencia")).await?;
    println!("called Valencia: {} places", valencia.places.len());
    let error = places.by_name(named("Nowhere")).await;
    println!("called Nowhere: {}", error.expect_err("there is none"));
    Ok(())
}

/// A stream of replies, and a stream of requests.
async fn stream_places(places: &PlacesClient) -> Result<(), Error> {
    let alps = Rectangle {
        south_west: Some(point(45.5, 6.0)),
        north_east: Some(point(47.5, 14.0)),
    };
    let mut found = places.within(alps).await?;
    let mut route = Vec::new();
    while let Some(place) = found.message().await? {
        route.extend(place.at);
    }
    println!("in the Alps: {} places", route.len());
    let route = places.measure(stream::iter(route)).await?;
    println!("from each to the next: {:.0} km", route.kilometres);
    Ok(())
}

/// A stream in each direction: the server answers a note with the notes that others left at its
/// place.
async fn converse(places: &PlacesClient) -> Result<(), Error> {
    let note = |place: &str, text: &str| Note {
        place: place.into(),
        text: text.into(),
    };
    let first = stream::iter([note("Wien", "good coffee"), note("Linz", "fine cake")]);
    let answers = places.converse(first).await?;
    assert_eq!(answers.count().await, 0);
    let second = stream::iter([note("Linz", "so it is"), note("Wien", "here too")]);
    let mut answers = places.converse(second).await?;
    while let Some(answer) = answers.message().await? {
        println!("somebody wrote in {}: {}", answer.place, answer.text);
    }
    Ok(())
}
