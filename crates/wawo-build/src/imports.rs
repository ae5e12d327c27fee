//! Public imports: `import public` passes a file on to those that import the importing file, and to
//! those that import them by `import public`, over any number of files. prost-reflect passes it on
//! only once, so a file gets all of them as imports of its own.

use std::collections::BTreeSet;

use prost_types::FileDescriptorProto;

/// The files that a file imports publicly.
pub(crate) fn public(file: &FileDescriptorProto) -> Vec<String> {
    let indices = file.public_dependency.iter();
    let names = indices.filter_map(|index| file.dependency.get(usize::try_from(*index).ok()?));
    names.cloned().collect()
}

/// The files that a file sees through public imports and does not itself import. `public` returns
/// the public imports of a file.
pub(crate) fn missing(
    file: &FileDescriptorProto,
    public: impl Fn(&str) -> Vec<String>,
) -> Vec<String> {
    let mut seen = BTreeSet::from([file.name().to_owned()]);
    seen.extend(file.dependency.iter().cloned());
    let mut missing = Vec::new();
    let mut next = file.dependency.clone();
    while let Some(name) = next.pop() {
        for name in public(&name) {
            if seen.insert(name.clone()) {
                missing.push(name.clone());
                next.push(name);
            }
        }
    }
    missing
}
