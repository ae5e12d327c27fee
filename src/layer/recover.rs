//! Errors of layers become statuses: the only place where they do.

use std::error::Error;

use tower::{buffer, load_shed, timeout};

use crate::status::{BoxError, Delivery, Status};

/// The status for an error of a layer: by the first error in its chain of sources that says how
/// a call ended.
pub(crate) fn status(error: BoxError) -> Status {
    let error = match error.downcast::<Status>() {
        Ok(status) => return *status,
        Err(error) => error,
    };
    let mut next: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(link) = next {
        if let Some(status) = known(link) {
            return status.with_source(error);
        }
        next = link.source();
    }
    Status::internal("internal error").with_source(error)
}

fn known(error: &(dyn Error + 'static)) -> Option<Status> {
    if let Some(status) = error.downcast_ref::<Status>() {
        return Some(status.clone());
    }
    if error.is::<timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
        return Some(Status::deadline_exceeded("the service took too long"));
    }
    if error.is::<load_shed::error::Overloaded>() {
        let status = Status::resource_exhausted("the service is overloaded");
        return Some(status.with_delivery(Delivery::NotSent));
    }
    if error.is::<buffer::error::Closed>() {
        return Some(Status::unavailable("the service has stopped"));
    }
    None
}

#[cfg(test)]
mod tests {
    use tower::{load_shed::error::Overloaded, timeout::error::Elapsed};
    use wawo_protocol::Code;

    use super::status;
    use crate::status::{BoxError, Status};

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    #[test]
    fn errors_of_towers_layers_become_the_right_status() {
        for (error, code) in [
            (BoxError::from(Elapsed::new()), Code::DeadlineExceeded),
            (BoxError::from(Overloaded::new()), Code::ResourceExhausted),
            (BoxError::from(Status::not_found("room")), Code::NotFound),
            (BoxError::from("secret"), Code::Internal),
        ] {
            let text = error.to_string();
            assert_eq!(status(error).code(), code, "{text}");
        }
    }

    #[test]
    fn a_known_error_is_found_behind_others() {
        let error = Wrapped(Wrapped(Overloaded::new().into()).into());
        assert_eq!(status(error.into()).code(), Code::ResourceExhausted);
        let error = Wrapped(Status::not_found("room").into());
        assert_eq!(status(error.into()).message(), "room");
    }

    #[test]
    fn the_text_of_an_unknown_error_stays_here() {
        let status = status("secret".into());
        assert!(!status.message().contains("secret"));
        assert_eq!(status.cause().unwrap().to_string(), "secret");
    }
}
