//! The error of two services that cannot be in one table.

use std::{error::Error, fmt, panic::Location};

use wawo_protocol::ServiceId;

/// Two services with one id, or with one name. Calls find their service by the id; people, logs and
/// reflection find it by the name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DuplicateService {
    /// The name of the service that was added first.
    pub first: String,
    /// Its id.
    pub first_id: ServiceId,
    /// Where it was added.
    pub first_at: &'static Location<'static>,
    /// The name of the service that was added second.
    pub second: String,
    /// Its id.
    pub second_id: ServiceId,
    /// Where it was added.
    pub second_at: &'static Location<'static>,
}

impl fmt::Display for DuplicateService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            first_id,
            second,
            second_id,
            first_at,
            second_at,
        } = self;
        match (first == second, first_id == second_id) {
            (true, true) => write!(
                f,
                "the service `{first}` was added twice; leave one of them out"
            ),
            (true, false) => write!(
                f,
                "two services are named `{first}`, one with the id {first_id} and one with the id {second_id}; \
                 rename one of them"
            ),
            (false, _) => write!(
                f,
                "the services `{first}` and `{second}` have the same id {first_id}; \
                 give one of them another by `option (wawo.service).id` in its schema"
            ),
        }?;
        write!(f, " (they were added at {first_at} and at {second_at})")
    }
}

impl Error for DuplicateService {}
