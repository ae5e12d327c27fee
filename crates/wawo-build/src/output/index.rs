//! The macro by which `wawo::include_proto!` finds the file of a package, or says which ones there are.

/// The name of the file with the macro.
pub(super) const FILE: &str = "wawo_build_packages.rs";

/// Generates the macro.
pub(super) fn text(packages: &[&str]) -> String {
    // A relative path would start at the folder of the file that calls the macro.
    let arm = |package: &&str| {
        let file = format!("concat!(env!(\"OUT_DIR\"), \"/{package}.rs\")");
        format!("    (\"{package}\") => {{ include!({file}); }};\n")
    };
    let arms = packages.iter().map(arm).collect::<String>();
    let names = packages.iter().map(|package| format!("`{package}`"));
    let names = names.collect::<Vec<_>>().join(", ");
    format!(
        "macro_rules! __wawo_include_package {{\n\
         {arms}    \
         ($other:literal) => {{ compile_error!(concat!(\"the schemas have no package `\", $other, \"`: \
         the build script compiles the packages {names} (a macro that passes a name on takes it as \
         `$name:tt`)\")); }};\n    \
         ($($other:tt)*) => {{ compile_error!(\"`include_proto!` takes the name of a package as a \
         literal, such as \\\"chat.v1\\\"\"); }};\n\
         }}\n"
    )
}
