//! Cuts texts to a limit, and marks them as cut.

/// Cuts a text to `max` bytes with a mark that it was cut, and adds which other parts, those in
/// `lost`, were left out.
pub(crate) fn mark(text: &mut String, lost: &[String], max: usize) {
    let mut lost = lost.join(", ");
    if !lost.is_empty() {
        lost = format!(" [left out: {lost}]");
    }
    if text.len() + lost.len() > max {
        let length = text.len();
        let cut_off = format!("… [cut: a text with {length} bytes]{lost}");
        text.truncate(cut(text, max - cut_off.len()).len());
        text.push_str(&cut_off);
    } else {
        text.push_str(&lost);
    }
}

/// Returns the text cut to `max` bytes, with a mark if it was longer.
pub(crate) fn marked(text: &str, max: usize) -> String {
    let mut text = text.to_owned();
    mark(&mut text, &[], max);
    text
}

/// The longest start of `text` that has at most `max` bytes and ends between characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
