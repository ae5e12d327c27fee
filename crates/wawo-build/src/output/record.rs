//! A record of each written file, to know it again in the next build.

use crate::output::file::OutputFile;

/// The name of the file with the records of its folder.
pub(super) const FILE: &str = "wawo_build_files";

/// A file that was written.
#[derive(Debug)]
pub(super) struct Record {
    name: String,
    bytes: usize,
    hash: u64,
    pub(super) about: String,
    pub(super) package: Option<String>,
}

impl Record {
    pub(super) fn new(file: &OutputFile) -> Self {
        Self {
            name: file.name.clone(),
            bytes: file.content.len(),
            hash: hash(&file.content),
            about: file.about.clone(),
            package: file.package.clone(),
        }
    }

    /// Whether the file had this content.
    pub(super) fn is_of(&self, content: &[u8]) -> bool {
        self.bytes == content.len() && self.hash == hash(content)
    }

    pub(super) fn to_line(&self) -> String {
        let Self {
            name, bytes, hash, ..
        } = self;
        format!("{hash:016x} {bytes} {name}\n")
    }
}

/// Reads lines; skips those that are none.
pub(super) fn parse(text: &str) -> impl Iterator<Item = (&str, Record)> {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ' ');
        let hash = u64::from_str_radix(parts.next()?, 16).ok()?;
        let bytes = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        let record = Record {
            name: name.to_owned(),
            bytes,
            hash,
            about: String::new(),
            package: None,
        };
        // Only names within the folder: the file may have been changed.
        (!name.contains(['/', '\\'])).then_some((name, record))
    })
}

/// FNV-1a. A later build compares the hash, and the hashers of the standard library may differ between
/// versions of Rust.
fn hash(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
