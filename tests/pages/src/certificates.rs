//! The files of certificates that the page about TLS uses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, path::PathBuf, process};

use wawo_test_certificates::{Authority, Issued};

/// A folder with certificates of one authority, which is removed at the end.
pub(crate) struct Files {
    folder: PathBuf,
    authority: Authority,
}

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("wawo-page-tls-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new("root");
        let files = Self { folder, authority };
        files.write("root.pem", &files.authority.root);
        files.renew_server();
        let billing = files.authority.client("spiffe://example.org/billing");
        files.write_issued("billing", &billing);
        files
    }

    pub(crate) fn renew_server(&self) {
        let names = ["localhost", "127.0.0.1", "::1"];
        self.write_issued("server", &self.authority.server(&names));
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write_issued(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.certificate);
        self.write(&format!("{name}-key.pem"), &issued.key);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
