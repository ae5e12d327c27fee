//! Checks of the settings that bound each other.

use wawo_settings::ConfigError;

use crate::{config::Config, limits::MIN_PACKET_BYTES};

/// The longest claimed name, in bytes (docs/protocol.md, "Hello").
const MAX_CLAIMED_NAME_BYTES: usize = 255;

/// The room for credentials and the table of services together, in bytes: a hello must fit into the
/// smallest packet beside its other entries, which take less than 512 bytes.
const MAX_OPAQUE_BYTES: usize = MIN_PACKET_BYTES as usize - 512;

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

    /// The length of the longest credentials that a hello has room for beside the table of services, in
    /// bytes.
    pub fn max_credentials_bytes(&self) -> usize {
        MAX_OPAQUE_BYTES - self.services.len()
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
        let name = self.claimed_name.len();
        within("claimed_name", name, MAX_CLAIMED_NAME_BYTES)?;
        within(
            "the table of services",
            self.services.len(),
            MAX_OPAQUE_BYTES,
        )
    }
}
