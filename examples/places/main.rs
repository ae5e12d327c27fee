//! Looks up cities of the world: the nearest to a point, and by name.
//!
//! `cargo run --example places` asks some questions; `.. places -- 48.2 16.4` asks for a point,
//! `.. places -- Springfield` for a name.

use std::env;

use cities::City;
use wawo::{Code, Context, OrStatus, Peer, Result, Server, Status};

use crate::places::{ByNameReply, ByNameRequest, Place, Places, PlacesClient, PlacesServer, Point};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod places {
    wawo::include_proto!("places");
}

type Error = Box<dyn std::error::Error + Send + Sync>;

struct Atlas;

impl Places for Atlas {
    async fn nearest(&self, _cx: Context, point: Point) -> Result<Place> {
        let latitude = (-90.0..=90.0).contains(&point.latitude);
        if !latitude || !(-180.0..=180.0).contains(&point.longitude) {
            return Err(Status::invalid_argument(
                "a latitude has -90 to 90, a longitude -180 to 180",
            ));
        }
        let by_distance =
            |a: &&City, b: &&City| distance(a, &point).total_cmp(&distance(b, &point));
        let nearest = cities::all().iter().min_by(by_distance);
        nearest
            .map(place)
            .or_status(Code::NotFound, "the atlas is empty")
    }

    async fn by_name(&self, _cx: Context, request: ByNameRequest) -> Result<ByNameReply> {
        let has_name = |city: &&City| city.city.eq_ignore_ascii_case(&request.name);
        let places: Vec<_> = cities::all().iter().filter(has_name).map(place).collect();
        match places.is_empty() {
            true => Err(Status::not_found(format!(
                "no place is called {:?}",
                request.name
            ))),
            false => Ok(ByNameReply { places }),
        }
    }
}

fn place(city: &City) -> Place {
    Place {
        name: city.city.into(),
        country: city.country.into(),
        at: Some(Point {
            latitude: city.latitude,
            longitude: city.longitude,
        }),
        altitude_metres: city.altitude,
    }
}

/// Grows with the distance along the surface: the haversine of the angle between two points.
fn distance(city: &City, point: &Point) -> f64 {
    let (from, to) = (city.latitude.to_radians(), point.latitude.to_radians());
    let turn = (city.longitude - point.longitude).to_radians();
    ((from - to) / 2.0).sin().powi(2) + from.cos() * to.cos() * (turn / 2.0).sin().powi(2)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let atlas = PlacesServer::new(Atlas);
    let server = Server::builder()
        .add_service(atlas)
        .bind("tcp://127.0.0.1:0")
        .await?;
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());
    let places = PlacesClient::new(&Peer::connect(address).await?);

    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [latitude, longitude] => {
            let point = Point {
                latitude: latitude.parse()?,
                longitude: longitude.parse()?,
            };
            println!("{:?}", places.nearest(point).await?);
        }
        [name] => println!(
            "{:?}",
            places.by_name(ByNameRequest { name: name.clone() }).await?
        ),
        _ => {
            let nearest = places
                .nearest(Point {
                    latitude: 48.2,
                    longitude: 16.4,
                })
                .await?;
            println!(
                "nearest to 48.2, 16.4: {} ({})",
                nearest.name, nearest.country
            );
            assert_eq!(nearest.name, "Wien");
            let named = places
                .by_name(ByNameRequest {
                    name: "Valencia".into(),
                })
                .await?;
            println!("called Valencia: {} places", named.places.len());
            let error = places
                .by_name(ByNameRequest {
                    name: "Nowhere".into(),
                })
                .await;
            println!("called Nowhere: {}", error.expect_err("there is none"));
        }
    }
    Ok(())
}
