//! A line of the log, field by field, in one of its two forms.
//!
//! ```text
//!   JSON   {"ts":"2026-11-30T11:05:30.123456Z","side":"server","method":"chat.v1.Chat/Join", ..}
//!   text   2026-11-30T11:05:30.123456Z server chat.v1.Chat/Join OK peer=7 duration_us=152 ..
//! ```

use std::{fmt, time::SystemTime};

use crate::observe::access_log::{
    digits::{push_base64, push_hex, push_number},
    escape::{CUT, MAX_VALUE_BYTES, push_escaped, push_escaped_str},
    timestamp,
};

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An object a line.
    Json,
    /// Columns, and then `name=value`.
    Text,
}

/// The name of a field, as it stands in front of the value in each form.
#[derive(Clone, Copy)]
pub(super) struct FieldName {
    pub(super) json: &'static str,
    pub(super) text: &'static str,
}

/// The name of a field.
macro_rules! name {
    ($name:literal) => {
        $crate::observe::access_log::line::FieldName {
            json: concat!(",\"", $name, "\":"),
            text: concat!(" ", $name, "="),
        }
    };
}

/// The name of a field that is a column of the text form.
macro_rules! column {
    ($name:literal) => {
        $crate::observe::access_log::line::FieldName {
            json: concat!(",\"", $name, "\":"),
            text: " ",
        }
    };
}

pub(super) use {column, name};

/// A line that is being written. Its functions append one field each, in the order in which they are called.
/// They are inlined, so that the compiler knows the lengths of the names.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    form: Form,
}

impl<'a> Line<'a> {
    /// Begins a line with its time.
    pub(super) fn begin(out: &'a mut Vec<u8>, form: Form, time: SystemTime) -> Self {
        let is_json = form == Form::Json;
        if is_json {
            out.extend_from_slice(b"{\"ts\":\"");
        }
        timestamp::push(out, time);
        if is_json {
            out.push(b'"');
        }
        Self { out, form }
    }

    /// A text that is known to have only characters that stand for themselves.
    #[inline]
    pub(super) fn plain(&mut self, name: FieldName, value: &str) {
        self.name(name);
        self.quoted(|out| out.extend_from_slice(value.as_bytes()));
    }

    /// A text of others.
    #[inline]
    pub(super) fn text(&mut self, name: FieldName, value: &str) {
        self.name(name);
        self.quoted(|out| push_escaped_str(out, value));
    }

    /// A value that prints itself.
    #[inline]
    pub(super) fn display(&mut self, name: FieldName, value: &dyn fmt::Display) {
        self.name(name);
        self.quoted(|out| push_escaped(out, value));
    }

    #[inline(always)]
    pub(super) fn number(&mut self, name: FieldName, value: u64) {
        self.name(name);
        push_number(self.out, value);
    }

    #[inline]
    pub(super) fn hex<const N: usize>(&mut self, name: FieldName, value: [u8; N]) {
        self.name(name);
        self.quoted(|out| push_hex(out, value));
    }

    /// Entries of metadata: an object in JSON, and `metadata.key=value` in text.
    pub(super) fn metadata<'m>(&mut self, entries: impl Iterator<Item = (&'m str, Shown<'m>)>) {
        let mut is_empty = true;
        for (key, value) in entries {
            let (first, next) = match self.form {
                Form::Json => (",\"metadata\":{\"", ",\""),
                Form::Text => (" metadata.", " metadata."),
            };
            self.push(if is_empty { first } else { next });
            is_empty = false;
            self.push(key);
            self.push(match self.form {
                Form::Json => "\":",
                Form::Text => "=",
            });
            self.quoted(|out| value.push(out));
        }
        if !is_empty && self.form == Form::Json {
            self.out.push(b'}');
        }
    }

    pub(super) fn end(mut self) {
        self.push(match self.form {
            Form::Json => "}\n",
            Form::Text => "\n",
        });
    }

    #[inline(always)]
    fn name(&mut self, name: FieldName) {
        self.push(match self.form {
            Form::Json => name.json,
            Form::Text => name.text,
        });
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// In text, a value has quotes only if it could be read as anything else without them.
    fn quoted(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        match self.form {
            Form::Json => {
                self.out.push(b'"');
                push(self.out);
                self.out.push(b'"');
            }
            Form::Text => {
                let begin = self.out.len();
                push(self.out);
                if !is_word(&self.out[begin..]) {
                    self.out.insert(begin, b'"');
                    self.out.push(b'"');
                }
            }
        }
    }
}

fn is_word(text: &[u8]) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    !text.is_empty() && text.iter().all(is_safe)
}

/// A value of metadata.
pub(super) enum Shown<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// A value that nobody may read in a log.
    Secret,
}

impl Shown<'_> {
    fn push(&self, line: &mut Vec<u8>) {
        match *self {
            Self::Text(value) => push_escaped_str(line, &String::from_utf8_lossy(value)),
            Self::Secret => line.extend_from_slice(b".."),
            Self::Binary(value) => {
                // Four digits have three bytes.
                let room = MAX_VALUE_BYTES / 4 * 3;
                push_base64(line, &value[..value.len().min(room)]);
                if value.len() > room {
                    line.extend_from_slice(CUT);
                }
            }
        }
    }
}
