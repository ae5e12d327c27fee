//! Writes generated files to a folder. The calls of one build script share it: none overwrites what
//! another has written, and files that a former build has written and this one does not are removed.

mod file;
mod index;
mod record;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

pub(crate) use crate::output::file::OutputFile;
use crate::{error::Error, output::record::Record};

/// A folder for generated files.
#[derive(Debug)]
pub(crate) struct Output {
    /// As it was given, for errors.
    folder: PathBuf,
    /// The one spelling of the folder that all calls share.
    canonical: PathBuf,
    /// `OUT_DIR` in that spelling, if the folder is in it. Nobody else writes there, and nobody checks
    /// it in.
    of_build_script: Option<PathBuf>,
}

/// The files that this process has written, by their paths.
static WRITTEN: Mutex<BTreeMap<PathBuf, Record>> = Mutex::new(BTreeMap::new());

impl Output {
    /// Opens the given folder, or else `OUT_DIR`. Creates it if it does not exist.
    pub(crate) fn open(folder: Option<PathBuf>) -> Result<Self, Error> {
        let out_dir = env::var_os("OUT_DIR").map(PathBuf::from);
        let folder = folder.or_else(|| out_dir.clone()).ok_or(Error::OutDir)?;
        let created = fs::create_dir_all(&folder).and_then(|()| fs::canonicalize(&folder));
        let canonical = created.map_err(|error| Error::OutputFolder {
            folder: folder.clone(),
            error,
        })?;
        // If `OUT_DIR` does not exist, the folder, which does, is not in it.
        let out_dir = out_dir.and_then(|out_dir| fs::canonicalize(out_dir).ok());
        Ok(Self {
            of_build_script: out_dir.filter(|out_dir| canonical.starts_with(out_dir)),
            folder,
            canonical,
        })
    }

    pub(crate) fn write(&self, files: &[OutputFile]) -> Result<(), Error> {
        check_names(files)?;
        // A panic of another thread leaves the records as they were before or after an insertion.
        let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            self.check_earlier_calls(file, &written)?;
        }
        let is_first = !written
            .keys()
            .any(|path| path.parent() == Some(&self.canonical));
        if is_first && self.of_build_script.is_some() {
            self.remove_stale(files)?;
        }
        for file in files {
            write(&self.folder.join(&file.name), &file.content)?;
            written.insert(self.key(&file.name), Record::new(file));
        }
        match &self.of_build_script {
            None => Ok(()),
            Some(out_dir) => self.write_index(&written, out_dir),
        }
    }

    /// The same for names that some file systems do not tell apart.
    fn key(&self, name: &str) -> PathBuf {
        self.canonical.join(name.to_lowercase())
    }

    fn check_earlier_calls(
        &self,
        file: &OutputFile,
        written: &BTreeMap<PathBuf, Record>,
    ) -> Result<(), Error> {
        let earlier = written.get(&self.key(&file.name));
        let Some(earlier) = earlier.filter(|earlier| !earlier.is_of(&file.content)) else {
            return Ok(());
        };
        let contents = match earlier.about == file.about {
            true => file.about.clone(),
            false => format!("{} and {}", earlier.about, file.about),
        };
        let (name, folder) = (&file.name, self.folder.display());
        let problem = format!(
            "two calls of `compile` write `{name}` to `{folder}`, each with another content: {contents}"
        );
        let remedy = "compile all files of a package in one call, or give each call a folder of its \
                      own by `out_dir`";
        Err(Error::same_file(problem, remedy))
    }

    /// Removes files that the last build wrote and this one does not. Those that were changed since
    /// then are not removed.
    fn remove_stale(&self, files: &[OutputFile]) -> Result<(), Error> {
        let text = fs::read_to_string(self.folder.join(record::FILE)).unwrap_or_default();
        for (name, record) in record::parse(&text) {
            let path = self.folder.join(name);
            if files.iter().all(|file| file.name != name)
                && fs::read(&path).is_ok_and(|content| record.is_of(&content))
            {
                fs::remove_file(&path).map_err(|error| Error::write(&path, error))?;
            }
        }
        Ok(())
    }

    /// Writes the records of the folder, and the macro that finds its packages.
    fn write_index(
        &self,
        written: &BTreeMap<PathBuf, Record>,
        out_dir: &Path,
    ) -> Result<(), Error> {
        let here = written
            .iter()
            .filter(|(path, _)| path.parent() == Some(&self.canonical));
        let records = here.map(|(_, record)| record).collect::<Vec<_>>();
        let list = records
            .iter()
            .map(|record| record.to_line())
            .collect::<String>();
        write(&self.folder.join(record::FILE), list.as_bytes())?;
        if self.canonical != out_dir {
            return Ok(());
        }
        let packages = records
            .iter()
            .filter_map(|record| record.package.as_deref());
        let text = index::text(&packages.collect::<Vec<_>>());
        write(&self.folder.join(index::FILE), text.as_bytes())
    }
}

/// Checks that the files of one call have names of their own.
fn check_names(files: &[OutputFile]) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for own in [index::FILE, record::FILE] {
        seen.insert(own.to_owned(), "a file of wawo_build".to_owned());
    }
    for file in files {
        if let Some(other) = seen.insert(file.name.to_lowercase(), file.about.clone()) {
            let problem = format!("{} and {other} would both be `{}`", file.about, file.name);
            return Err(Error::same_file(problem, "rename one of them"));
        }
    }
    Ok(())
}

/// Writes a file, unless it is there already: so it keeps its time of change.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).map_err(|error| Error::write(path, error))
}
