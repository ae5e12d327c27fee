//! Traits that a user's attribute derives for a type though prost derives them already. The compiler
//! would show that within generated code.

use std::collections::BTreeSet;

use syn::{Attribute, Item, Path, Token, punctuated::Punctuated};

use crate::error::Error;

/// Checks that no type of the generated code of a package derives a trait twice.
pub(crate) fn check(code: &str) -> Result<(), Error> {
    let file = syn::parse_file(code).map_err(|error| Error::Prost(error.to_string()))?;
    let mut items = file.items;
    while let Some(item) = items.pop() {
        match item {
            Item::Struct(item) => check_type(&item.ident.to_string(), &item.attrs)?,
            Item::Enum(item) => check_type(&item.ident.to_string(), &item.attrs)?,
            Item::Mod(module) => {
                items.extend(module.content.into_iter().flat_map(|(_, items)| items))
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_type(name: &str, attributes: &[Attribute]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    let mut twice = Vec::new();
    let derives = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"));
    for derive in derives {
        let traits = derive.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated);
        let traits = traits.map_err(|error| Error::Prost(error.to_string()))?;
        for part in traits.iter().filter_map(|path| path.segments.last()) {
            let part = part.ident.to_string();
            if !seen.insert(part.clone()) {
                twice.push(format!("`{part}`"));
            }
        }
    }
    match twice.is_empty() {
        true => Ok(()),
        false => Err(Error::Prost(format!(
            "`{name}` derives {} twice: prost derives it already where the fields of a message allow \
             that, so leave it out of the attribute",
            twice.join(" and ")
        ))),
    }
}
