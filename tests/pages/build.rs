//! Takes the code out of the pages in `docs/`. A page is a program: its `proto` block is its schema, and
//! its `rust` blocks, in order, are one module.

use std::{env, error::Error, fs, path::Path};

/// The pages, by their file names. `src/lib.rs` has a module for each.
const PAGES: [&str; 6] = [
    "identity",
    "reconnect",
    "state",
    "streams",
    "testing-services",
    "tls",
];

/// The page that shows the generated code of its own schema.
const GENERATED: &str = "generated";

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let mut schemas = Vec::new();
    for page in PAGES.into_iter().chain([GENERATED]) {
        let file = format!("../../docs/{page}.md");
        println!("cargo::rerun-if-changed={file}");
        let text = fs::read_to_string(&file)?;
        let schema = out.join(format!("{page}.proto"));
        fs::write(&schema, blocks(&text, "proto"))?;
        fs::write(out.join(format!("{page}.page.rs")), blocks(&text, "rust"))?;
        schemas.push(schema);
    }
    Ok(wawo_build::compile(&schemas, &[out])?)
}

/// All code blocks of a language, joined.
fn blocks(page: &str, language: &str) -> String {
    let begin = format!("```{language}");
    let mut code = String::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, line) => inside = line == begin,
            (true, "```") => inside = false,
            (true, line) => {
                code.push_str(line);
                code.push('\n');
            }
        }
    }
    code
}
