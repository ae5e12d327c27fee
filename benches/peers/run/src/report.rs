//! The report: sections between marks in a Markdown file, and charts beside it.
//!
//! Each section has its own marks, so a run replaces its own sections, and leaves everything else
//! unchanged.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::section::Section;

/// Writes `section` between its marks in the file at `path`. Charts go to the directory of the
/// file's name without its extension.
///
/// # Errors
///
/// The file cannot be read or written, or has no such marks.
pub(crate) fn write(path: &Path, section: &Section) -> Result<()> {
    let named = || path.display().to_string();
    let before = fs::read_to_string(path).with_context(named)?;
    let body = section.markdown() + &Charts::beside(path)?.write(section)?;
    let after = replace(&before, section.name, &body).with_context(named)?;
    fs::write(path, after).with_context(named)
}

/// The directory of the charts, and its name in links.
struct Charts {
    directory: PathBuf,
    link: String,
}

impl Charts {
    fn beside(path: &Path) -> Result<Self> {
        let stem = path.file_stem().context("the report needs a file name")?;
        Ok(Self {
            directory: path.with_extension(""),
            link: stem.to_string_lossy().into_owned(),
        })
    }

    /// Writes the charts of `section` and returns the links to them.
    fn write(&self, section: &Section) -> Result<String> {
        let mut links = String::new();
        for (kind, chart) in &section.charts {
            let name = format!("{}-{kind}.svg", section.name);
            let file = self.directory.join(&name);
            fs::create_dir_all(&self.directory)
                .and_then(|()| fs::write(&file, chart.svg()))
                .with_context(|| file.display().to_string())?;
            let _ = writeln!(links, "\n![{}]({}/{name})", chart.title, self.link);
        }
        Ok(links)
    }
}

/// Returns `text` with `body` between the marks of `name`.
fn replace(text: &str, name: &str, body: &str) -> Result<String> {
    let begin = format!("<!-- {name}: begin -->\n");
    let end = format!("<!-- {name}: end -->");
    let missing = |mark: &str| format!("the mark `{}` is missing", mark.trim_end());
    let (head, rest) = text.split_once(&begin).with_context(|| missing(&begin))?;
    let (_, tail) = rest.split_once(&end).with_context(|| missing(&end))?;
    Ok(format!("{head}{begin}{body}{end}{tail}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{replace, write};
    use crate::{
        chart::{Bar, Chart},
        section::Section,
    };

    const TEXT: &str = "by hand\n<!-- W1: begin -->\nold\n<!-- W1: end -->\nby hand too\n";

    #[test]
    fn only_what_is_between_the_marks_changes_and_it_can_change_again() {
        let once = replace(TEXT, "W1", "new\n").unwrap();
        assert_eq!(
            once,
            "by hand\n<!-- W1: begin -->\nnew\n<!-- W1: end -->\nby hand too\n"
        );
        assert_eq!(replace(&once, "W1", "new\n").unwrap(), once);
    }

    #[test]
    fn a_file_without_marks_is_refused() {
        let error = replace(TEXT, "W2", "new").unwrap_err().to_string();
        assert_eq!(error, "the mark `<!-- W2: begin -->` is missing");
        assert!(replace("<!-- W1: begin -->\n", "W1", "new").is_err());
    }

    #[test]
    fn a_report_has_its_charts_in_a_directory_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("speed.md");
        fs::write(&path, TEXT).unwrap();
        let chart = Chart {
            title: "rates".to_owned(),
            parts: &["calls"],
            bars: vec![Bar {
                label: "tonic".to_owned(),
                parts: vec![1.0],
            }],
        };
        let section = Section {
            name: "W1",
            title: "W1: calls".to_owned(),
            table: "| a |\n".to_owned(),
            note: "quiet.".to_owned(),
            charts: vec![("rate", chart)],
        };
        write(&path, &section).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let body = "### W1: calls\n\n| a |\n\nquiet.\n\n![rates](speed/W1-rate.svg)\n";
        assert!(text.contains(body), "{text}");
        assert!(directory.path().join("speed/W1-rate.svg").exists());
    }
}
