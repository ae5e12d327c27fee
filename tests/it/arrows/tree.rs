//! The modules of a crate, and the arrows between them.
//!
//! An arrow goes from a module to one that it imports. A name that another module only passes on
//! (`pub use`) counts as one of the module that has it. A module that passes on what its own
//! submodules have does not import them by this.
//!
//! Loops are looked for in each room by itself: the modules directly below a parent, with all that is
//! below them, and the file of the parent. So a parent may use its submodules, or they may use it, but
//! not both: what both need is a module of its own.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, fs,
    path::Path as FilePath,
};

use crate::arrows::source::{Path, Source};

/// Where a module is: `["connection", "start"]`; the root of the crate has no parts.
pub(super) type Module = Vec<String>;

/// All modules of a crate, but those of tests.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<Module, Source>);

/// A module imports another one.
#[derive(Debug, Clone)]
pub(super) struct Arrow {
    pub(super) from: Module,
    pub(super) to: Module,
    /// As it stands in the file.
    path: Path,
}

/// Modules of one room that import each other.
#[derive(Debug)]
pub(super) struct Loop {
    /// The parent of the room.
    pub(super) room: Module,
    /// All that are on some way around, by name; the parent is `self`.
    pub(super) members: BTreeSet<String>,
    /// The shortest way around.
    pub(super) way: Vec<Arrow>,
}

impl Tree {
    /// Reads all files below a folder, which holds a `lib.rs`.
    pub(super) fn read(folder: &FilePath) -> Self {
        let mut tree = Self::default();
        tree.read_folder(folder, &[]);
        tree
    }

    fn read_folder(&mut self, folder: &FilePath, module: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let mut module = module.to_vec();
            if name != "lib" {
                module.push(name.to_owned());
            }
            // Tests may use all, and binaries are crates of their own.
            match path.is_dir() {
                _ if name == "tests" || name == "main" || name == "bin" => {}
                true => self.read_folder(&path, &module),
                false => self.add(module, &fs::read_to_string(&path).unwrap()),
            }
        }
    }

    fn add(&mut self, module: Module, text: &str) {
        self.0.insert(module, Source::read(text));
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.0.keys()
    }

    pub(super) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (from, source) in &self.0 {
            let passed_on = source.passed_on.values();
            let passed_on = passed_on.filter(|path| {
                let to = self.find(from, path);
                to.is_some_and(|to| !to.starts_with(from))
            });
            for path in source.paths.iter().chain(passed_on) {
                if let Some(to) = self.find(from, path).filter(|to| to != from) {
                    let (from, path) = (from.clone(), path.clone());
                    arrows.push(Arrow { from, to, path });
                }
            }
        }
        arrows
    }

    /// The module of this crate that has what a path names, as seen from a module.
    fn find(&self, from: &[String], path: &[String]) -> Option<Module> {
        let mut path = self.absolute(from, path)?;
        // Names may be passed on many times, but not in a circle.
        for _ in 0..self.0.len() {
            let known = (0..=path.len()).rev();
            let known = known.map(|length| &path[..length]);
            let module = known
                .into_iter()
                .find(|module| self.0.contains_key(*module))?;
            let name = path.get(module.len());
            let passed_on = name.and_then(|name| self.0[module].passed_on.get(name));
            let Some(passed_on) = passed_on else {
                return Some(module.to_vec());
            };
            let rest = path[module.len() + 1..].to_vec();
            path = self.absolute(module, passed_on)?;
            path.extend(rest);
        }
        None
    }

    /// A path from the root of this crate; `None` if it leads to another crate.
    fn absolute(&self, from: &[String], path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" => &[],
            "self" => from,
            "super" => {
                let base = from.split_last()?.1;
                return match rest.first().is_some_and(|next| next == "super") {
                    true => self.absolute(base, rest),
                    false => Some([base, rest].concat()),
                };
            }
            _ => {
                let child = [from, std::slice::from_ref(first)].concat();
                let is_child = self.0.contains_key(&child);
                return is_child.then(|| [from, path].concat());
            }
        };
        Some([base, rest].concat())
    }

    /// The loops of all rooms.
    pub(super) fn loops(&self) -> Vec<Loop> {
        let arrows = self.arrows();
        let parents = self.modules().filter_map(|module| module.split_last());
        let parents: BTreeSet<Module> = parents.map(|(_, parent)| parent.to_vec()).collect();
        let loops = parents.into_iter().map(|room| Room::new(room, &arrows));
        loops.flat_map(|room| room.loops()).collect()
    }
}

/// A parent and what is directly below it.
struct Room {
    parent: Module,
    /// One arrow for each two members, from the first to the second.
    arrows: BTreeMap<String, BTreeMap<String, Arrow>>,
}

impl Room {
    fn new(parent: Module, all: &[Arrow]) -> Self {
        let mut arrows: BTreeMap<String, BTreeMap<String, Arrow>> = BTreeMap::new();
        for arrow in all {
            let ends = [&arrow.from, &arrow.to].map(|module| member(&parent, module));
            if let [Some(from), Some(to)] = ends
                && from != to
            {
                let of_member = arrows.entry(from).or_default();
                of_member.entry(to).or_insert_with(|| arrow.clone());
            }
        }
        Self { parent, arrows }
    }

    fn loops(&self) -> Vec<Loop> {
        let mut left: BTreeSet<&String> = self.arrows.keys().collect();
        let mut loops = Vec::new();
        while let Some(first) = left.pop_first() {
            let Some(way) = self.way_around(first) else {
                continue;
            };
            let reached = self.reached(first);
            let is_around = |other: &String| self.reached(other).contains(first);
            let members: BTreeSet<String> = reached.into_iter().filter(is_around).collect();
            left.retain(|other| !members.contains(*other));
            let room = self.parent.clone();
            loops.push(Loop { room, members, way });
        }
        loops
    }

    /// All that a member imports, and what that imports.
    fn reached(&self, from: &str) -> BTreeSet<String> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(from) = next.pop() {
            for to in self.arrows.get(from).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        reached
    }

    /// The shortest way from a member back to itself.
    fn way_around(&self, start: &str) -> Option<Vec<Arrow>> {
        let mut ways = VecDeque::from([(start, Vec::new())]);
        let mut seen = BTreeSet::new();
        while let Some((from, way)) = ways.pop_front() {
            for (to, arrow) in self.arrows.get(from).into_iter().flatten() {
                let way = [&way[..], std::slice::from_ref(arrow)].concat();
                if to == start {
                    return Some(way);
                }
                if seen.insert(to) {
                    ways.push_back((to, way));
                }
            }
        }
        None
    }
}

/// The name of the member of a room that a module belongs to.
fn member(parent: &[String], module: &[String]) -> Option<String> {
    let below = module.strip_prefix(parent)?;
    Some(
        below
            .first()
            .map_or_else(|| "self".to_owned(), String::clone),
    )
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match self.from.is_empty() {
            true => "lib".to_owned(),
            false => self.from.join("/"),
        };
        write!(f, "{from}.rs names {}", self.path.join("::"))
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = match self.room.is_empty() {
            true => "crate".to_owned(),
            false => self.room.join("::"),
        };
        let members: Vec<_> = self.members.iter().map(String::as_str).collect();
        write!(f, "{room} has a loop of {}:", members.join(", "))?;
        for arrow in &self.way {
            write!(f, "\n    {arrow}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (module, text) in files {
            let parts = module.split('/').filter(|part| !part.is_empty());
            tree.add(parts.map(str::to_owned).collect(), text);
        }
        tree
    }

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let arrows = tree(files).arrows().into_iter();
        let text = |module: Vec<String>| module.join("/");
        arrows
            .map(|arrow| format!("{} > {}", text(arrow.from), text(arrow.to)))
            .collect()
    }

    fn loops(files: &[(&str, &str)]) -> Vec<String> {
        tree(files)
            .loops()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_path_leads_to_the_deepest_module_on_it() {
        let files = [
            ("", "mod a; mod b;"),
            ("a", "use crate::b::{C, d::E}; use std::b::F;"),
            ("b", "mod d; fn f() { d::g(); self::d::h() }"),
            ("b/d", "use super::C; use super::super::a::I;"),
        ];
        assert_eq!(
            arrows(&files),
            [
                "a > b", "a > b/d", "b > b/d", "b > b/d", "b/d > b", "b/d > a"
            ]
        );
    }

    #[test]
    fn a_name_that_is_passed_on_is_one_of_the_module_that_has_it() {
        let files = [
            ("", "pub use crate::a::{B, D};"),
            ("a", "pub(crate) use crate::a::b::B; pub use self::c as D;"),
            ("a/b", ""),
            ("a/c", "use crate::a::B;"),
            (
                "e",
                "use crate::B; use crate::D::F; pub use crate::a::B as G;",
            ),
        ];
        assert_eq!(
            arrows(&files),
            ["a/c > a/b", "e > a/b", "e > a/c", "e > a/b"]
        );
    }

    #[test]
    fn a_loop_is_told_by_its_shortest_way() {
        let files = [
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::C; use crate::d::D;"),
            ("c", "use crate::d::D;"),
            ("d", "use crate::a::A;"),
            ("e", "use crate::a::A;"),
        ];
        let told = "crate has a loop of a, b, c, d:\n    a.rs names crate::b::B\n    \
                    b.rs names crate::d::D\n    d.rs names crate::a::A";
        assert_eq!(loops(&files), [told]);
    }

    #[test]
    fn loops_are_found_at_every_depth_and_each_by_itself() {
        let files = [
            ("a/b", "use crate::a::c::C;"),
            ("a/c", "use super::b::d::D;"),
            ("a/b/d", ""),
            ("a/e", "use crate::a::f::F;"),
            ("a/f", "use crate::a::e::E;"),
        ];
        let found = loops(&files);
        assert!(found[0].starts_with("a has a loop of b, c:"), "{found:?}");
        assert!(found[1].starts_with("a has a loop of e, f:"), "{found:?}");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_parent_and_its_submodule_may_not_use_each_other() {
        let uses = ("a", "mod b; use crate::a::b::B; pub struct A;");
        let passes_on = ("a", "mod b; pub use crate::a::b::B; pub struct A;");
        let child = ("a/b", "use crate::a::A;");
        assert_eq!(loops(&[uses, child]).len(), 1);
        assert!(loops(&[uses, ("a/b", "")]).is_empty());
        assert!(loops(&[passes_on, child]).is_empty());
    }
}
