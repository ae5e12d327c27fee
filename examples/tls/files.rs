//! The certificates of the example, made anew for each run. Yours come from your authority.

use std::{env, fs, io, path::PathBuf, process};

use wawo::tls::Pem;
use wawo_test_certificates::{Authority, Issued};

/// A folder with certificates of one authority. Dropping it removes the folder.
pub(crate) struct Files {
    folder: PathBuf,
    authority: Authority,
}

impl Files {
    /// The root, a server, and the clients billing and reports.
    pub(crate) fn new() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("wawo-example-tls-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let authority = Authority::new("root");
        let files = Self { folder, authority };
        fs::write(files.folder.join("root.pem"), &files.authority.root)?;
        files.issue_server()?;
        for name in ["billing", "reports"] {
            let uri = format!("spiffe://example.org/{name}");
            files.write(name, &files.authority.client(&uri))?;
        }
        Ok(files)
    }

    /// Puts a new certificate in the place of the server's.
    pub(crate) fn issue_server(&self) -> io::Result<()> {
        let names = ["localhost", "127.0.0.1", "::1"];
        self.write("server", &self.authority.server(&names))
    }

    pub(crate) fn pem(&self, name: &str) -> Pem {
        Pem::file(self.folder.join(name))
    }

    fn write(&self, name: &str, issued: &Issued) -> io::Result<()> {
        fs::write(self.folder.join(format!("{name}.pem")), &issued.certificate)?;
        fs::write(self.folder.join(format!("{name}-key.pem")), &issued.key)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A folder that stays among the temporary files does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
