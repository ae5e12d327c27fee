//! Logs a status: the failure, the method and the peer.

use std::{error::Error, fmt, io};

use wawo_protocol::Code;

use crate::{error_chain::ErrorChain, status::Status};

impl Status {
    /// Logs a status, if the other side does not get its source. `method` and `peer` name the call that
    /// ended with it.
    ///
    /// A fault of this side is logged as an error. If an error of the operating system is among the
    /// causes, such as a full disk, the level is at least a warning. Otherwise the fault is the caller's,
    /// at a lower level.
    #[cold]
    pub(crate) fn log(&self, method: &dyn fmt::Display, peer: &dyn fmt::Display) {
        if self.0.source.is_none() {
            return;
        }
        let status = ErrorChain(self);
        match self.0.code {
            Code::Internal | Code::Unknown | Code::DataLoss => {
                tracing::error!(target: "wawo::call", %method, %peer, %status, "a call failed");
            }
            _ if self.has_system_error() => {
                tracing::warn!(target: "wawo::call", %method, %peer, %status, "a call failed");
            }
            _ => tracing::debug!(target: "wawo::call", %method, %peer, %status, "a call failed"),
        }
    }

    /// Logs how a one-way message failed, since its sender gets no status.
    #[cold]
    pub(crate) fn log_one_way(&self, method: &dyn fmt::Display, peer: &dyn fmt::Display) {
        match self.0.source {
            Some(_) => self.log(method, peer),
            None => {
                tracing::debug!(target: "wawo::call", %method, %peer, status = %self, "a one-way message was not served");
            }
        }
    }

    /// Whether an error of the operating system is among the causes.
    fn has_system_error(&self) -> bool {
        let mut next = self.cause().map(|cause| cause as &(dyn Error + 'static));
        while let Some(error) = next {
            if error.is::<io::Error>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}
