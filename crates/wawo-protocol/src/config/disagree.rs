//! Checks of the settings that bound each other.

use wawo_settings::ConfigError;

use crate::{config::Config, limits::MIN_PACKET_BYTES};

/// The longest identity, in bytes: the hello counts it in one.
const MAX_IDENTITY_BYTES: usize = 255;

/// The room for credentials and the table of services together, in bytes: a hello must fit into the
/// smallest packet beside its other entries, which take less than 512 bytes.
pub(crate) const MAX_OPAQUE_BYTES: usize = MIN_PACKET_BYTES as usize - 512;

impl Config {
    /// Checks that the largest call that the limits admit can be served, and so can the message
    /// that takes the most memory when decoded.
    pub(crate) fn check_agreement(&self) -> Result<(), ConfigError> {
        let (limits, opening) = (&self.limits, self.max_opening_bytes());
        let (message, metadata) = (limits.max_message_bytes, limits.max_metadata_bytes);
        let least = message as usize + metadata as usize;
        if opening < least {
            return Err(ConfigError::disagreement(
                "max_opening_bytes",
                opening,
                format!("max_message_bytes {message} and max_metadata_bytes {metadata}"),
                format!("must be at least {least}"),
            ));
        }
        let (message, connection) = (
            self.max_decoded_bytes(),
            self.max_connection_decoded_bytes(),
        );
        match message <= connection {
            true => Ok(()),
            false => Err(ConfigError::disagreement(
                "max_decoded_bytes",
                message,
                format!("max_connection_decoded_bytes {connection}"),
                format!("may be at most {connection}"),
            )),
        }
    }

    /// Checks that the hello has room for its contents.
    pub(crate) fn check_hello(&self) -> Result<(), ConfigError> {
        let within = |setting, length, most| match length <= most {
            true => Ok(()),
            false => Err(ConfigError::TooLong {
                setting,
                length,
                most,
            }),
        };
        let opaque = self.credentials.len() + self.services.len();
        within("identity", self.identity.len(), MAX_IDENTITY_BYTES)?;
        within(
            "the sum of credentials and services",
            opaque,
            MAX_OPAQUE_BYTES,
        )
    }
}
