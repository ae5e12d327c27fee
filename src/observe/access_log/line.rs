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
pub(super) struct Line<'a> {
    text: &'a mut String,
    form: Form,
}

impl<'a> Line<'a> {
    /// Begins a line with its time.
    pub(super) fn begin(text: &'a mut String, form: Form, time: SystemTime) -> Self {
        let is_json = form == Form::Json;
        text.push_str(if is_json { "{\"ts\":\"" } else { "" });
        timestamp::push(text, time);
        text.push_str(if is_json { "\"" } else { "" });
        Self { text, form }
    }

    /// A text that is known to have only characters that stand for themselves.
    pub(super) fn plain(&mut self, name: FieldName, value: &str) {
        self.name(name);
        self.quoted(|text| text.push_str(value));
    }

    /// A text of others.
    pub(super) fn text(&mut self, name: FieldName, value: &str) {
        self.name(name);
        self.quoted(|text| push_escaped_str(text, value));
    }

    /// A value that prints itself.
    pub(super) fn display(&mut self, name: FieldName, value: &dyn fmt::Display) {
        self.name(name);
        self.quoted(|text| push_escaped(text, value));
    }

    pub(super) fn number(&mut self, name: FieldName, value: u64) {
        self.name(name);
        push_number(self.text, value);
    }

    pub(super) fn hex<const N: usize>(&mut self, name: FieldName, value: [u8; N]) {
        self.name(name);
        self.quoted(|text| push_hex(text, value));
    }

    /// Entries of metadata: an object in JSON, and `metadata.key=value` in text.
    pub(super) fn metadata<'m>(&mut self, entries: impl Iterator<Item = (&'m str, Shown<'m>)>) {
        let mut is_empty = true;
        for (key, value) in entries {
            let (first, next) = match self.form {
                Form::Json => (",\"metadata\":{\"", ",\""),
                Form::Text => (" metadata.", " metadata."),
            };
            self.text.push_str(if is_empty { first } else { next });
            is_empty = false;
            self.text.push_str(key);
            self.text.push_str(match self.form {
                Form::Json => "\":",
                Form::Text => "=",
            });
            self.quoted(|text| value.push(text));
        }
        if !is_empty && self.form == Form::Json {
            self.text.push('}');
        }
    }

    pub(super) fn end(self) {
        self.text.push_str(match self.form {
            Form::Json => "}\n",
            Form::Text => "\n",
        });
    }

    fn name(&mut self, name: FieldName) {
        self.text.push_str(match self.form {
            Form::Json => name.json,
            Form::Text => name.text,
        });
    }

    /// In text, a value has quotes only if it could be read as anything else without them.
    fn quoted(&mut self, push: impl FnOnce(&mut String)) {
        match self.form {
            Form::Json => {
                self.text.push('"');
                push(self.text);
                self.text.push('"');
            }
            Form::Text => {
                let begin = self.text.len();
                push(self.text);
                if !is_word(&self.text[begin..]) {
                    self.text.insert(begin, '"');
                    self.text.push('"');
                }
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    !text.is_empty() && text.bytes().all(is_safe)
}

/// A value of metadata.
pub(super) enum Shown<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// A value that nobody may read in a log.
    Secret,
}

impl Shown<'_> {
    fn push(&self, line: &mut String) {
        match *self {
            Self::Text(value) => push_escaped_str(line, &String::from_utf8_lossy(value)),
            Self::Secret => line.push_str(".."),
            Self::Binary(value) => {
                // Four digits have three bytes.
                let room = MAX_VALUE_BYTES / 4 * 3;
                push_base64(line, &value[..value.len().min(room)]);
                if value.len() > room {
                    line.push(CUT);
                }
            }
        }
    }
}
