//! PEM text, in a file or in memory.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::transport::tls::TlsError;

/// PEM text with certificates, a private key, or revocation lists: a file, or bytes in memory.
///
/// A file is read when the configuration is built, and read anew when it changes
/// ([`ServerTlsBuilder::reload_interval`](crate::tls::ServerTlsBuilder::reload_interval)). It has at most 16
/// MiB, and is a regular file or a link to one. `Debug` prints the path, and never the text.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

/// The longest file that is read, in bytes. Bundles of roots have some 200 KiB; large authorities have
/// revocation lists of some MiB.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

impl Pem {
    /// The text in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// Text in memory.
    pub fn bytes(text: impl Into<Vec<u8>>) -> Self {
        Self(Source::Memory(text.into().into()))
    }

    /// The text as it is now.
    pub(super) fn read(&self) -> Result<Vec<u8>, TlsError> {
        match &self.0 {
            Source::Memory(text) => Ok(text.to_vec()),
            Source::File(path) => read_file(path).map_err(|source| TlsError::Read {
                path: path.clone(),
                source,
            }),
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.0, Source::File(_))
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = open(path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX_FILE_BYTES {
        true => Err(io::Error::other("it has more than 16 MiB")),
        false => Ok(text),
    }
}

/// Opens a regular file, also behind links. All else, such as a pipe that nobody writes to, could block for ever.
fn open(path: &Path) -> io::Result<File> {
    check_is_file(&fs::metadata(path)?)?;
    let mut options = File::options();
    options.read(true);
    // A pipe may have taken its place by now.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    let file = options.open(path)?;
    check_is_file(&file.metadata()?)?;
    Ok(file)
}

fn check_is_file(metadata: &Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a file")),
    }
}

/// The place of the text, for errors.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => path.display().fmt(f),
            Source::Memory(_) => f.write_str("the PEM text in memory"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => f.debug_tuple("Pem").field(path).finish(),
            Source::Memory(_) => f.write_str("Pem(..)"),
        }
    }
}
