//! Default numbers of services and methods (docs/protocol.md, "Service and method ids").

/// The bit that separates two kinds of ids: ids set by a schema are below it, derived ids have it
/// set.
pub(crate) const DERIVED: u32 = 1 << 31;

/// The default id of a service: FNV-1a over its full name, such as `chat.v1.Chat`, with the highest
/// bit set.
pub fn service_id(full_name: &str) -> u32 {
    fnv1a_32(full_name) | DERIVED
}

/// The default id of a method: FNV-1a over its name, such as `Join`, with the highest bit set.
pub fn method_id(name: &str) -> u32 {
    fnv1a_32(name) | DERIVED
}

/// Formats an id for generated code and for errors: derived ids, which are hashes, in hexadecimal.
pub(crate) fn literal(id: u32) -> String {
    match id & DERIVED {
        0 => id.to_string(),
        _ => format!("{id:#010x}"),
    }
}

fn fnv1a_32(text: &str) -> u32 {
    let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

/// FNV-1a with 64 bits, for fingerprints of schemas.
pub(crate) fn fnv1a_64(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::{fnv1a_32, fnv1a_64, literal, method_id, service_id};

    #[test]
    fn the_hash_is_fnv_1a() {
        // Published test values of FNV-1a.
        assert_eq!(fnv1a_32(""), 0x811c_9dc5);
        assert_eq!(fnv1a_32("a"), 0xe40c_292c);
        assert_eq!(fnv1a_32("foobar"), 0xbf9c_f968);
        assert_eq!(fnv1a_64("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn ids_that_a_schema_sets_are_decimal() {
        assert_eq!(literal(100), "100");
        assert_eq!(literal(0x8000_000a), "0x8000000a");
    }

    #[test]
    fn derived_ids_have_the_highest_bit() {
        assert_eq!(service_id("foobar"), 0xbf9c_f968);
        assert_eq!(method_id(""), 0x811c_9dc5);
        assert!(service_id("chat.v1.Chat") > i32::MAX as u32);
    }
}
