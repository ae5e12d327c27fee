//! Turns errors of protox into errors for the author of a schema: the file by a path that can be
//! opened, the position in it, and a correction.

mod first_line;
mod json_names;

use std::{
    env, fs,
    path::{Path, PathBuf},
    str,
};

use prost_reflect::DescriptorPool;
use protox::file::File;

use crate::{
    diagnose::first_line::first_word,
    error::{Error, list},
    field_numbers::file::DEPENDENCIES,
    includes::find,
    options,
    position::{position, position_after},
};

/// Converts the error of reading a given file or one of its imports.
pub(crate) fn diagnose(error: &protox::Error, given: &Path, includes: &[PathBuf]) -> Error {
    // An error without a file is about a file that no include path contains.
    let Some(name) = error.file() else {
        return not_found(given, includes);
    };
    let mut problem = error.to_string();
    let debug = format!("{error:?}");
    // protox prints the position, if it knows one, before the same text.
    let place = match debug.strip_suffix(&problem) {
        Some(position) => position.strip_prefix(name).unwrap_or_default(),
        None => {
            problem = debug;
            ""
        }
    };
    let file = find(name, includes).unwrap_or_else(|| name.into());
    if let Some(error) = of_two_names(&problem, name, &file, includes)
        .or_else(|| of_json_names(&problem, name, &file))
    {
        return error;
    }
    let known = place.trim_end_matches([':', ' ']);
    let position = match known {
        "" => place_of(&problem, &file, includes),
        known => format!("{}{known}", file.display()),
    };
    match of_syntax(&problem, &file, &position) {
        Some(error) => error,
        None => Error::Schema {
            position,
            remedy: remedy(&problem, includes),
            problem,
        },
    }
}

/// The error of a first line that is missing, or names an edition.
fn of_syntax(problem: &str, file: &Path, position: &str) -> Option<Error> {
    let text = fs::read_to_string(file).ok()?;
    let first_word = first_word(&text);
    if first_word == "edition" && problem.ends_with("but found 'edition'") {
        return Some(Error::editions(position.to_owned()));
    }
    if first_word == "syntax" || !problem.contains("proto2 syntax") {
        return None;
    }
    let problem = format!("{problem}; the file has no syntax line, so it is proto2");
    let remedy = "begin it with `syntax = \"proto3\";`, or give each field a label";
    Some(Error::schema(position.to_owned(), problem, remedy))
}

/// The error of a file whose items are defined twice, because it was read under two names.
fn of_two_names(problem: &str, name: &str, file: &Path, includes: &[PathBuf]) -> Option<Error> {
    let (_, other) = problem.split_once("' is already defined in file '")?;
    let other = other.strip_suffix('\'')?;
    let same = fs::canonicalize(file).ok()? == fs::canonicalize(find(other, includes)?).ok()?;
    let problem = format!("the file is read under two names, `{other}` and `{name}`");
    let remedy = format!(
        "give and import it by one name, and leave out one of the include paths {}",
        list(includes)
    );
    same.then(|| Error::schema(file.display().to_string(), problem, remedy))
}

/// The error of two fields that have one name in JSON.
fn of_json_names(problem: &str, name: &str, file: &Path) -> Option<Error> {
    let is_it = problem.starts_with("a field with JSON name '")
        || problem.starts_with("camel-case name of field '");
    let parsed = File::open(name, file).ok().filter(|_| is_it)?;
    json_names::clash(file.display(), parsed.file_descriptor_proto())
}

fn not_found(given: &Path, includes: &[PathBuf]) -> Error {
    let (file, includes) = (given.to_owned(), includes.to_owned());
    if given.is_file() || includes.iter().any(|folder| folder.join(given).is_file()) {
        return Error::NotIncluded { file, includes };
    }
    Error::NotFound {
        file,
        current: env::current_dir().ok(),
        includes,
    }
}

/// Finds the position of a problem for which protox only names the file.
fn place_of(problem: &str, file: &Path, includes: &[PathBuf]) -> String {
    if let Some(cycle) = problem.strip_prefix("import cycle detected: ") {
        return last_import(cycle, includes).unwrap_or_else(|| file.display().to_string());
    }
    let bytes = fs::read(file).unwrap_or_default();
    match str::from_utf8(&bytes) {
        Ok(text) if problem.ends_with("reached end of file") => {
            position_after(file.display(), text.trim_end())
        }
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            position_after(file.display(), &valid)
        }
        Ok(_) => file.display().to_string(),
    }
}

/// The position of the import that closes a cycle such as `a.proto -> b.proto -> a.proto`.
fn last_import(cycle: &str, includes: &[PathBuf]) -> Option<String> {
    let mut names = cycle.rsplit(" -> ");
    let (imported, importing) = (names.next()?, names.next()?);
    let path = find(importing, includes)?;
    let file = File::open(importing, &path).ok()?;
    let file = file.file_descriptor_proto();
    let index = file.dependency.iter().position(|name| name == imported)?;
    let statement = [DEPENDENCIES, i32::try_from(index).ok()?];
    Some(position(path.display(), file, &statement))
}

/// The correction of a problem, if it is known.
fn remedy(problem: &str, includes: &[PathBuf]) -> Option<String> {
    if problem.starts_with("import '") && problem.ends_with("' not found") {
        return Some(format!("looked in the include paths {}", list(includes)));
    }
    if problem.starts_with("unknown syntax") {
        return Some("it can be `proto2` or `proto3`".to_owned());
    }
    if problem.starts_with("expected comment terminator") {
        return Some("close the comment by `*/`".to_owned());
    }
    if let Some(remedy) = option_remedy(problem) {
        return Some(remedy);
    }
    let name = undefined(problem)?.trim_start_matches('.');
    if name.starts_with("wawo.") {
        return Some(format!(
            "add `import \"{}\";`, which has `(wawo.service)` and `(wawo.method)`",
            options::NAME
        ));
    }
    let (top, pool) = (name.splitn(4, '.').take(3), DescriptorPool::global());
    let top = top.collect::<Vec<_>>().join(".");
    let message = pool.get_message_by_name(&top);
    let file = message
        .map(|message| message.parent_file())
        .or_else(|| Some(pool.get_enum_by_name(&top)?.parent_file()))?;
    Some(format!("add `import \"{}\";`", file.name()))
}

/// The allowed values of a wawo option that has another value.
fn option_remedy(problem: &str) -> Option<String> {
    for (option, message) in [
        ("(wawo.service)", "ServiceOptions"),
        ("(wawo.method)", "MethodOptions"),
    ] {
        let field = undefined(problem).is_some_and(|name| name.starts_with(option));
        if field || problem.ends_with(&format!("for option '{option}'")) {
            let file = options::file().ok()?;
            let mut messages = file.file_descriptor_proto().message_type.iter();
            let fields = &messages.find(|found| found.name() == message)?.field;
            let fields = fields.iter().map(|field| {
                let kind = field.r#type().as_str_name().trim_start_matches("TYPE_");
                format!("`{} {}`", kind.to_lowercase(), field.name())
            });
            let fields = fields.collect::<Vec<_>>().join(", ");
            return Some(format!("`{option}` has {fields}"));
        }
    }
    None
}

/// The name that is used but not defined.
fn undefined(problem: &str) -> Option<&str> {
    ["' is not defined", "', which is not defined"]
        .iter()
        .find_map(|end| Some(problem.strip_suffix(end)?.rsplit_once('\'')?.1))
}
