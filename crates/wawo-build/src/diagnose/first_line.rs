//! The first statement of a schema, which says its syntax or edition.

/// The first word of a schema behind comments: `syntax` or `edition`, unless the line is missing.
pub(super) fn first_word(text: &str) -> &str {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let comment = match (rest.strip_prefix("//"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n'),
            (_, Some(comment)) => comment.split_once("*/"),
            (None, None) => break,
        };
        rest = comment.map_or("", |(_, rest)| rest).trim_start();
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &rest[..end.unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::first_word;

    #[test]
    fn the_first_word_stands_behind_comments() {
        for (text, word) in [
            ("syntax = \"proto3\";", "syntax"),
            ("\u{feff}// a\n\n/* b\n*/ /**/ edition=\"2023\";", "edition"),
            ("message M {}", "message"),
            ("// syntax", ""),
            ("/* syntax", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(text), word, "{text}");
        }
    }
}
