//! The metadata that may be set, and how entries are found.

use wawo_protocol::{Metadata, MetadataError};

#[test]
fn the_first_value_of_a_key_is_found() {
    let mut metadata = Metadata::new();
    metadata.append("tenant", "42").unwrap();
    metadata.append("tenant", "43").unwrap();
    metadata.append("trace-bin", vec![0, 255]).unwrap();
    assert_eq!(metadata.text("tenant"), Some("42"));
    assert_eq!(metadata.bytes("trace-bin").unwrap()[..], [0, 255]);
    assert_eq!(metadata.text("absent"), None);
    assert_eq!(metadata.len(), 3);
    assert_eq!(metadata.remove("tenant").as_deref(), Some(&b"42"[..]));
    assert_eq!((metadata.text("tenant"), metadata.len()), (None, 1));
    assert_eq!(metadata.remove("tenant"), None);
    // Without entries, it is as if there had never been any.
    metadata.remove("trace-bin").unwrap();
    assert_eq!(metadata, Metadata::new());
    assert!(metadata.is_empty());
}

#[test]
fn each_rule_for_keys_and_values_has_its_error() {
    let mut metadata = Metadata::new();
    let mut insert = |key: &str, value: Vec<u8>| metadata.append(key.to_owned(), value);
    assert_eq!(insert("", vec![]), Err(MetadataError::KeyLength(0)));
    assert_eq!(
        insert(&"k".repeat(256), vec![]),
        Err(MetadataError::KeyLength(256))
    );
    assert_eq!(insert(&"k".repeat(255), vec![]), Ok(()));
    for key in ["Upper", "with space", "ü", "line\n"] {
        assert_eq!(
            insert(key, vec![]),
            Err(MetadataError::KeyCharacter(key.to_owned()))
        );
    }
    assert!(matches!(
        insert("big-bin", vec![0; 65_536]),
        Err(MetadataError::ValueLength { length: 65_536, .. })
    ));
    assert_eq!(insert("big-bin", vec![0; 65_535]), Ok(()));
    for value in ["\n", "\u{7f}", "é"] {
        assert_eq!(
            insert("text", value.as_bytes().to_vec()),
            Err(MetadataError::ValueCharacter("text".to_owned()))
        );
    }
}
