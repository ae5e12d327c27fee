//! The service: cities of the world, and notes at them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cities::City;
use futures::{StreamExt, stream};
use wawo::{Code, Context, OrStatus, Result, Status, Streaming};

use crate::places::{ByNameReply, ByNameRequest, Note, Place, Places, Point, Rectangle, Route};

/// The radius of the earth.
const EARTH_KILOMETRES: f64 = 6371.0;

/// Notes, by place.
type Notes = Arc<Mutex<HashMap<String, Vec<Note>>>>;

#[derive(Default)]
pub(crate) struct Atlas {
    notes: Notes,
}

impl Places for Atlas {
    async fn nearest(&self, _cx: Context, point: Point) -> Result<Place> {
        check(&point)?;
        let to = |city: &City| kilometres(&at(city), &point);
        let cities = cities::all().iter();
        let nearest = cities.min_by(|a, b| to(a).total_cmp(&to(b)));
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

    async fn within(&self, _cx: Context, area: Rectangle) -> Result<Streaming<Place>> {
        let missing = "a rectangle has two corners";
        let from = area.south_west.or_status(Code::InvalidArgument, missing)?;
        let to = area.north_east.or_status(Code::InvalidArgument, missing)?;
        check(&from)?;
        check(&to)?;
        let is_within = move |city: &&City| {
            (from.latitude..=to.latitude).contains(&city.latitude)
                && (from.longitude..=to.longitude).contains(&city.longitude)
        };
        let places = cities::all().iter().filter(is_within).map(place);
        Ok(Streaming::new(stream::iter(places)))
    }

    async fn measure(&self, _cx: Context, mut points: Streaming<Point>) -> Result<Route> {
        let mut route = Route::default();
        let mut last: Option<Point> = None;
        while let Some(point) = points.message().await? {
            check(&point)?;
            route.points += 1;
            route.kilometres += last.map_or(0.0, |last| kilometres(&last, &point));
            last = Some(point);
        }
        Ok(route)
    }

    async fn converse(&self, _cx: Context, notes: Streaming<Note>) -> Result<Streaming<Note>> {
        let all = self.notes.clone();
        let answers = notes.flat_map(move |note| match note {
            Ok(note) => stream::iter(leave(&all, note).into_iter().map(Ok).collect::<Vec<_>>()),
            Err(status) => stream::iter(vec![Err(status)]),
        });
        Ok(Streaming::new(answers))
    }
}

/// Adds a note to its place; returns the notes that were there.
fn leave(all: &Notes, note: Note) -> Vec<Note> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let there = all.entry(note.place.clone()).or_default();
    let before = there.clone();
    there.push(note);
    before
}

fn check(point: &Point) -> Result<()> {
    let latitude = (-90.0..=90.0).contains(&point.latitude);
    match latitude && (-180.0..=180.0).contains(&point.longitude) {
        true => Ok(()),
        false => Err(Status::invalid_argument(
            "a latitude has -90 to 90, a longitude -180 to 180",
        )),
    }
}

fn place(city: &City) -> Place {
    Place {
        name: city.city.into(),
        country: city.country.into(),
        at: Some(at(city)),
        altitude_metres: city.altitude,
    }
}

fn at(city: &City) -> Point {
    let (latitude, longitude) = (city.latitude, city.longitude);
    Point {
        latitude,
        longitude,
    }
}

/// The distance along the surface in kilometres, by the haversine of the angle between two points.
fn kilometres(a: &Point, b: &Point) -> f64 {
    let (from, to) = (a.latitude.to_radians(), b.latitude.to_radians());
    let turn = (a.longitude - b.longitude).to_radians();
    let haversine =
        ((from - to) / 2.0).sin().powi(2) + from.cos() * to.cos() * (turn / 2.0).sin().powi(2);
    2.0 * EARTH_KILOMETRES * haversine.sqrt().asin()
}
