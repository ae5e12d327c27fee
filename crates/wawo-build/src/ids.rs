//! Ids as people read them (docs/protocol.md, "Service and method ids").

use wawo_protocol::DERIVED_ID;

/// Formats an id for generated code and for errors: derived ids, which are hashes, in hexadecimal.
pub(crate) fn literal(id: u32) -> String {
    match id & DERIVED_ID {
        0 => id.to_string(),
        _ => format!("{id:#010x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn ids_that_a_schema_sets_are_decimal() {
        assert_eq!(literal(100), "100");
        assert_eq!(literal(0x8000_000a), "0x8000000a");
    }
}
