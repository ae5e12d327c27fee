//! The names of named pipes.

/// How many UTF-16 code units a name may have: Windows allows a path of 256, which begins with
/// `\\.\pipe\`.
const MAX_NAME_UNITS: usize = 256 - r"\\.\pipe\".len();

/// Checks a name, on every system alike.
///
/// Windows makes a backslash of a slash, and resolves `..` in a path: a name with either could leave the
/// folder of pipes, and name any device. It also cuts dots and spaces at the end.
pub(super) fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it has no name");
    }
    if name.encode_utf16().count() > MAX_NAME_UNITS {
        return Err("its name is longer than the 247 characters that the name of a pipe may have");
    }
    if name.contains(['/', '\\']) {
        return Err("its name contains a slash or a backslash");
    }
    if name.contains(char::is_control) {
        return Err("its name contains a control character");
    }
    if name.ends_with(['.', ' ']) {
        return Err("its name ends with a dot or a space, which Windows would cut");
    }
    Ok(())
}

/// The path by which the system knows a name.
///
/// # Errors
///
/// If the name is wrong: a program may have made its address without a text that was checked.
#[cfg(windows)]
pub(crate) fn path(name: &str) -> std::io::Result<String> {
    let invalid = |text| std::io::Error::new(std::io::ErrorKind::InvalidInput, text);
    check(name).map_err(invalid)?;
    Ok(format!(r"\\.\pipe\{name}"))
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME_UNITS, check};

    #[test]
    fn names_are_checked() {
        for name in ["a", "Ab.c d", "äöü", "a:b", "..a"] {
            check(name).unwrap();
        }
        for (name, reason) in [
            ("", "no name"),
            ("a/b", "a slash"),
            (r"..\a", "a backslash"),
            (r"\\server\pipe\a", "a backslash"),
            ("a\0b", "a control character"),
            ("a\n", "a control character"),
            ("..", "ends with a dot"),
            ("a ", "a space"),
        ] {
            let error = check(name).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }

    #[test]
    fn a_name_has_at_most_247_characters() {
        assert_eq!(MAX_NAME_UNITS, 247);
        check(&"a".repeat(247)).unwrap();
        check(&"ä".repeat(247)).unwrap();
        for longer in ["a".repeat(248), "😀".repeat(124)] {
            assert!(check(&longer).unwrap_err().contains("247"));
        }
    }
}
