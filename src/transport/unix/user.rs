//! Checks the user at the other end of an abstract socket, which has no file with permissions.

use std::io;

use rustix::process::geteuid;
use tokio::net::UnixStream;

use crate::transport::{address::Address, options::AllowedUids};

/// Refuses a connection whose other end belongs to a user that is not allowed.
pub(super) fn check(
    stream: &UnixStream,
    allowed: &AllowedUids,
    address: &Address,
) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if allowed.contain(uid) {
        return Ok(());
    }
    let text = format!("user {uid} is not allowed at {address} (abstract_uids)");
    tracing::debug!(target: "wawo::transport", %address, uid, "refused a user (abstract_uids)");
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, text))
}

impl AllowedUids {
    fn contain(&self, uid: u32) -> bool {
        match self {
            Self::Own => uid == geteuid().as_raw(),
            Self::These(uids) => uids.contains(&uid),
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::geteuid;

    use crate::transport::options::SocketOptions;

    #[test]
    fn own_user_these_or_all_are_allowed() {
        let own = geteuid().as_raw();
        let new = SocketOptions::new;
        for (options, of_own, of_another) in [
            (new(), true, false),
            (new().abstract_uids([own + 1]), false, true),
            (new().abstract_uids([own, own + 1]), true, true),
            (new().any_abstract_uid(), true, true),
        ] {
            assert_eq!(options.abstract_uids.contain(own), of_own);
            assert_eq!(options.abstract_uids.contain(own + 1), of_another);
        }
    }
}
